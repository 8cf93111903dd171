package certificate

import (
	"bytes"
	"encoding/base64"
	"path"

	"go.yaml.in/yaml/v3"
)

const (
	// maxKubeconfig bounds a kubeconfig, in bytes. One with one cluster has 6 KiB. The worst
	// that YAML can do with this takes half a second.
	maxKubeconfig = 128 << 10
	// maxKubeconfigFields bounds users and clusters together: by an alias of YAML, each
	// can be as large as the file.
	maxKubeconfigFields = 100
	// kubeconfigKind is what the kind of a kubeconfig is, where there is one.
	kubeconfigKind = "Config"
)

// kubeconfig is what matters here of the type Config of k8s.io/client-go/tools/clientcmd/api/v1.
type kubeconfig struct {
	Kind     string `yaml:"kind"`
	Clusters []struct {
		Name    string `yaml:"name"`
		Cluster struct {
			CAData string `yaml:"certificate-authority-data"`
			CA     string `yaml:"certificate-authority"`
		} `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		Name string `yaml:"name"`
		User struct {
			CertificateData string `yaml:"client-certificate-data"`
			Certificate     string `yaml:"client-certificate"`
			KeyData         string `yaml:"client-key-data"`
			Key             string `yaml:"client-key"`
		} `yaml:"user"`
	} `yaml:"users"`
}

// kubeconfigField is a certificate in a kubeconfig or named by it, with its key.
type kubeconfigField struct {
	name string // the path of the field
	// data is Base64; it goes before file.
	data, file       string
	keyData, keyFile string
}

// parseKubeconfig lists the certificates of a kubeconfig: none, where users have tokens.
func parseKubeconfig(text []byte) ([]kubeconfigField, Reason) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, ReasonEmpty
	}
	if len(text) > maxKubeconfig {
		return nil, ReasonTooLarge
	}
	var k kubeconfig
	if err := yaml.Unmarshal(text, &k); err != nil {
		return nil, ReasonKubeconfig
	}
	if k.Kind != kubeconfigKind && (k.Kind != "" || len(k.Users)+len(k.Clusters) == 0) {
		return nil, ReasonKubeconfig
	}
	if len(k.Users)+len(k.Clusters) > maxKubeconfigFields {
		return nil, ReasonTooMany
	}
	var fields []kubeconfigField
	for _, c := range k.Clusters {
		fields = append(fields, kubeconfigField{
			name: label("clusters/" + c.Name + "/certificate-authority"),
			data: c.Cluster.CAData, file: c.Cluster.CA,
		})
	}
	for _, u := range k.Users {
		fields = append(fields, kubeconfigField{
			name: label("users/" + u.Name + "/client-certificate"),
			data: u.User.CertificateData, file: u.User.Certificate,
			keyData: u.User.KeyData, keyFile: u.User.Key,
		})
	}
	return fields, ""
}

// kubeconfig reads the certificates in a kubeconfig and those that it names.
func (p *filePass) kubeconfig(location string) {
	if p.isKnown(SourceKubeconfig, location) {
		return
	}
	entry := p.entry(SourceKubeconfig, location)
	text, reason := p.read(location, maxKubeconfig)
	if reason != "" {
		entry.fail("", reason)
		return
	}
	fields, reason := parseKubeconfig(text)
	if reason != "" {
		entry.fail("", reason)
	}
	for _, field := range fields {
		p.kubeconfigField(entry, location, field)
	}
}

// kubeconfigField reads one certificate. Its key is looked at where the kubeconfig has
// it, or the file of the certificate; a file that holds just a key is never opened.
func (p *filePass) kubeconfigField(entry *Entry, location string, field kubeconfigField) {
	var bundle []byte
	var reason Reason
	class := fileClass(location)
	switch {
	case field.data != "":
		bundle, reason = kubeconfigData(field.data)
	case field.file != "":
		file := kubeconfigPath(location, field.file)
		class = fileClass(file)
		bundle, reason = p.read(file, maxBundle)
	default:
		return
	}
	if reason != "" {
		entry.fail(field.name, reason)
		return
	}
	first := p.add(entry, field.name, bundle, class)
	if first == nil {
		return
	}
	switch {
	case field.keyData != "":
		key, reason := kubeconfigData(field.keyData)
		if reason != "" {
			entry.fail(field.name, ReasonKey)
			return
		}
		entry.judgeKey(field.name, first, field.name, key)
	case field.data == "" && field.keyFile == field.file:
		entry.judgeKey(field.name, first, field.name, bundle)
	}
}

// kubeconfigPath is the path on the host of a file that a kubeconfig names.
func kubeconfigPath(location, file string) string {
	if path.IsAbs(file) {
		return path.Clean(file)
	}
	return path.Join(path.Dir(location), file)
}

func kubeconfigData(text string) ([]byte, Reason) {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, ReasonKubeconfig
	}
	return data, ""
}
