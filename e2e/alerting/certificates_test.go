//go:build e2e

package alerting

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/pki"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/hostroot"
	"ack-exporter/e2e/internal/monitoring/monitoringtest"
)

// Files of a master with certificates.
const (
	authorityFile  = "/etc/kubernetes/pki/ca.crt"
	apiServerFile  = "/etc/kubernetes/pki/apiserver.crt"
	adminFile      = "/etc/kubernetes/admin.conf"
	kubeletFolder  = "/var/lib/kubelet/pki/"
	kubeletClient  = kubeletFolder + "kubelet-client-current.pem"
	kubeletServing = kubeletFolder + "kubelet.crt"
)

// What is left of a certificate that was made for a year.
const (
	day    = 24 * time.Hour
	plenty = 300 * day
	// aging calls for a renewal: less than 30 days and 8 % of the year.
	aging = 20 * day
	// agingText is what people read of that, a moment later.
	agingText = `19d 23h \d+m \d+s`
)

// master is a host with the certificates of a control plane and of a kubelet.
type master struct {
	t         *testing.T
	root      hostroot.Root
	authority *pki.Authority
	// renewals counts the client certificates of the kubelet.
	renewals int
}

// healthyMaster makes a host with nothing wrong about its certificates.
func healthyMaster(t *testing.T) *master {
	t.Helper()
	root, err := hostroot.New(t.TempDir())
	must(t, err)
	now := time.Now()
	authority, err := pki.NewAuthority(pki.Template{CommonName: "kubernetes", NotBefore: now.Add(-plenty), NotAfter: now.Add(20 * plenty)})
	must(t, err)
	m := &master{t: t, root: root, authority: authority}
	m.write(authorityFile, authority.Chain)
	m.apiServer(plenty)
	m.kubeletClient(plenty)
	m.kubeletServing(plenty)
	m.admin(m.adminPair(), nil)
	return m
}

func (m *master) write(path string, content []byte) {
	m.t.Helper()
	must(m.t, m.root.Write(path, content))
}

func (m *master) client(left time.Duration, name string) *pki.Pair {
	m.t.Helper()
	pair, err := m.authority.Client(pki.Template{CommonName: name}.ExpiringIn(left))
	must(m.t, err)
	return pair
}

func (m *master) server(left time.Duration, name string) *pki.Pair {
	m.t.Helper()
	pair, err := m.authority.Server(pki.Template{CommonName: name, Hosts: []string{name}}.ExpiringIn(left))
	must(m.t, err)
	return pair
}

// apiServer gives the API server another certificate.
func (m *master) apiServer(left time.Duration) {
	m.t.Helper()
	m.write(apiServerFile, m.server(left, "kube-apiserver").Chain)
}

// kubeletServing is the certificate that a kubelet signs itself when it first starts.
func (m *master) kubeletServing(left time.Duration) {
	m.t.Helper()
	m.write(kubeletServing, m.server(left, firstNode).Chain)
}

// kubeletClient renews that certificate as a kubelet does: a new file with the key too,
// to which the link then leads.
func (m *master) kubeletClient(left time.Duration) {
	m.t.Helper()
	m.renewals++
	file := fmt.Sprintf(kubeletFolder+"kubelet-client-2026-01-01-00-00-%02d.pem", m.renewals)
	pair := m.client(left, "system:node:"+firstNode)
	m.write(file, append(pair.Chain, pair.Key...))
	must(m.t, m.root.Link(kubeletClient, file))
}

func (m *master) adminPair() *pki.Pair { return m.client(plenty, "kubernetes-admin") }

// admin writes the kubeconfig with a client certificate and its key, or another one.
func (m *master) admin(pair *pki.Pair, key []byte) {
	m.t.Helper()
	if key == nil {
		key = pair.Key
	}
	const user, name = "kubernetes-admin", "kubernetes"
	content, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: "https://192.168.0.1:6443", CertificateAuthorityData: m.authority.Chain}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{user: {ClientCertificateData: pair.Chain, ClientKeyData: key}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: user}},
		CurrentContext: name,
	})
	must(m.t, err)
	m.write(adminFile, content)
}

// onFile is an alert about a certificate in a file of the first node. rest is what its
// description says of that.
func onFile(name, file, subject, rest string) monitoringtest.Alert {
	return monitoringtest.Alert{
		Name: name, Severity: monitoringtest.Warning, Node: firstNode,
		Labels:      map[string]string{"source": "file", "location": file, "subject": subject},
		Description: regexp.QuoteMeta(fmt.Sprintf("The certificate %s of the file %s on node %s ", subject, file, firstNode)) + rest,
	}
}

// TestCertificates has certificates on a node grow old, be replaced and lose their key.
func TestCertificates(t *testing.T) {
	t.Parallel()
	m := healthyMaster(t)
	w := healthyNode(t)
	ready(t, w, exporter.Config{Rootfs: m.root, Args: []string{withoutKernelLog, "--collector.certificate_files.interval=1s"}})
	s := monitoringtest.New(t, w, monitoringtest.Options{
		Targets: []monitoringtest.Endpoint{monitoringtest.Target(firstAddress, firstNode, "pod-1")},
	})
	// It is not for lack of data that nothing fires.
	s.AwaitQuery(`count(ack_certificate_not_after_timestamp_seconds{source="file"})`, 4)
	s.AwaitQuery(`count(ack_certificate_not_after_timestamp_seconds{source="kubeconfig"})`, 2)
	s.RequireSilence()

	// Nothing depends on this one: nobody must ever hear of it.
	m.kubeletServing(-day)
	s.AwaitQuery(`max(ack_certificate_not_after_timestamp_seconds{location="`+kubeletServing+`"}) < bool time()`, 1)

	expiring := onFile("ACKCertificateExpiresSoon", apiServerFile, "kube-apiserver",
		`expires in `+agingText+`, and does not renew itself\.`)
	// Somebody has put it there in place of a good one.
	replaced := onFile("ACKCertificateReplaced", apiServerFile, "kube-apiserver",
		`was replaced within the last 10s\. The one before could have been used for 299d 23h \d+m \d+s more\.`)
	m.apiServer(aging)
	s.Fires(expiring, replaced)
	s.Resolves(replaced)

	notRenewed := onFile("ACKCertificateNotRenewed", kubeletClient, "system:node:"+firstNode,
		`expires in `+agingText+`\. It should have renewed itself by now\.`)
	m.kubeletClient(aging)
	s.Fires(notRenewed)

	const key = "users/kubernetes-admin/client-certificate"
	mismatch := monitoringtest.Alert{
		Name: "ACKCertificateKeyMismatch", Severity: monitoringtest.Warning, Node: firstNode,
		Labels:      map[string]string{"source": "kubeconfig", "location": adminFile, "key": key},
		Description: regexp.QuoteMeta(fmt.Sprintf("The private key of the kubeconfig %s (%s) on node %s is not that of the certificate beside it.", adminFile, key, firstNode)),
	}
	m.admin(m.adminPair(), m.adminPair().Key)
	s.Fires(mismatch)

	m.apiServer(plenty)
	m.kubeletClient(plenty)
	m.admin(m.adminPair(), nil)
	s.Resolves(expiring, notRenewed, mismatch)
	s.Done()
}

// The shop is an Ingress of two hosts with a certificate in a Secret.
const (
	shopNamespace = "shop"
	shopObject    = shopNamespace + "/front"
	shopHost      = "shop.example"
	shopOtherHost = "www.shop.example"
)

// openShop makes it, with nothing wrong.
func (c *dnsCluster) openShop(t *testing.T) {
	t.Helper()
	must(t, c.Apply(t.Context(), []byte(`{apiVersion: v1, kind: Namespace, metadata: {name: `+shopNamespace+`}}`)))
	c.shopCertificate(t, plenty, shopHost, shopOtherHost)
	c.put(t, cluster.TLSIngress(shopNamespace, "front", "front", shopHost, shopOtherHost))
}

// shopCertificate replaces the certificate.
func (c *dnsCluster) shopCertificate(t *testing.T, left time.Duration, hosts ...string) {
	t.Helper()
	now := time.Now()
	authority, err := pki.NewAuthority(pki.Template{CommonName: "example CA", NotBefore: now.Add(-plenty), NotAfter: now.Add(20 * plenty)})
	must(t, err)
	pair, err := authority.Server(pki.Template{CommonName: shopHost, Hosts: hosts}.ExpiringIn(left))
	must(t, err)
	c.put(t, cluster.TLSSecret(shopNamespace, "front", pair.Chain, pair.Key))
}

// breakShop leaves it without a certificate, and then with one that is old and for
// fewer hosts.
func (c *dnsCluster) breakShop(t *testing.T, s *monitoringtest.Scene) {
	t.Helper()
	unusable := monitoringtest.Alert{
		Name: "ACKTLSSecretUnusable", Severity: monitoringtest.Warning,
		Labels:      map[string]string{"source": "secret", "location": shopObject, "key": "tls.crt"},
		Description: `TLS cannot be served with what the secret shop/front \(tls\.crt\) has: what it holds is no certificate\.`,
	}
	c.put(t, cluster.TLSSecret(shopNamespace, "front", []byte("none"), []byte("none")))
	s.Fires(unusable)
	c.shopCertificate(t, plenty, shopHost, shopOtherHost)
	s.Resolves(unusable)

	expiring := monitoringtest.Alert{
		Name: "ACKCertificateExpiresSoon", Severity: monitoringtest.Warning,
		Labels:      map[string]string{"source": "secret", "location": shopObject, "key": "tls.crt", "subject": shopHost},
		Description: `The certificate shop\.example of the secret shop/front \(tls\.crt\) expires in ` + agingText + `, and does not renew itself\.`,
	}
	notCovered := monitoringtest.Alert{
		Name: "ACKIngressHostNotCovered", Severity: monitoringtest.Warning,
		Labels:      map[string]string{"source": "ingress", "location": shopObject, "key": shopOtherHost},
		Description: `The Ingress shop/front serves the host www\.shop\.example with a certificate that does not cover it\.`,
	}
	c.shopCertificate(t, aging, shopHost)
	s.Fires(expiring, notCovered)
	c.shopCertificate(t, plenty, shopHost, shopOtherHost)
	s.Resolves(expiring, notCovered)
}
