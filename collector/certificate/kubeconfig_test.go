package certificate

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseKubeconfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text, want string
	}{
		"data before file":    {"users: [{name: a, user: {client-certificate-data: QQ==, client-certificate: /a, client-key: k}}]", "[{users/a/client-certificate QQ== /a  k}]"},
		"cluster":             {"clusters: [{name: c, cluster: {certificate-authority: ca.crt}}]", "[{clusters/c/certificate-authority  ca.crt  }]"},
		"JSON":                {`{"kind":"Config","clusters":[{"name":"c","cluster":{"certificate-authority-data":"QQ=="}}]}`, "[{clusters/c/certificate-authority QQ==   }]"},
		"kind and no more":    {"kind: Config", "[]"},
		"token":               {"users: [{name: a, user: {token: x}}]", "[{users/a/client-certificate    }]"},
		"unknown fields":      {"kind: Config\npreferences: {}\nextensions: [1]\nusers: [{name: a, user: {exec: {command: x}}}]", "[{users/a/client-certificate    }]"},
		"null":                {"kind: Config\nusers: null\nclusters: ~", "[]"},
		"first document":      {"kind: Config\n---\nusers: [{name: a}]", "[]"},
		"alias":               {"users: [{name: a, user: &u {client-certificate: /a}}, {name: b, user: *u}]", "[{users/a/client-certificate  /a  } {users/b/client-certificate  /a  }]"},
		"empty":               {"", "empty"},
		"white space":         {" \n\n", "empty"},
		"only a comment":      {"# nothing", "kubeconfig"},
		"other kind":          {"kind: Pod\nusers: [{name: a}]", "kubeconfig"},
		"no kubeconfig":       {"hello: world", "kubeconfig"},
		"text":                {"hello", "kubeconfig"},
		"list":                {"[1, 2]", "kubeconfig"},
		"wrong type":          {"kind: Config\nusers: {a: b}", "kubeconfig"},
		"broken":              {"kind: Config\nusers: [", "kubeconfig"},
		"certificate":         {"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "kubeconfig"},
		"binary":              {"\x00\x01\x02", "kubeconfig"},
		"too large":           {"kind: Config\n" + strings.Repeat("#", maxKubeconfig), "too_large"},
		"too many":            {"users: [" + strings.Repeat("{name: a}, ", maxKubeconfigFields+1) + "]", "too_many"},
		"bomb":                {bomb(), "kubeconfig"},
		"deep":                {"users: " + strings.Repeat("[", 50000), "kubeconfig"},
		"alias within itself": {"users: &a [*a]", "kubeconfig"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fields, reason := parseKubeconfig([]byte(c.text))
			got := string(reason)
			if reason == "" {
				got = fmt.Sprint(fields)
			}
			if got != c.want {
				t.Errorf("%.200s, want %s", got, c.want)
			}
		})
	}
}

// bomb is a YAML text whose aliases stand for 10^9 users.
func bomb() string {
	var b strings.Builder
	b.WriteString("kind: Config\na0: &a0 [{name: x}]\n")
	for n := range 9 {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", n+1, n+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", n), 10), ", "))
	}
	b.WriteString("users: *a9\n")
	return b.String()
}

// TestKubeconfigs has what can be wrong with one, one by one.
func TestKubeconfigs(t *testing.T) {
	t.Parallel()
	ca := certify(t, "ca", edKey(t), nil, isCA)
	client := certify(t, "client", ecKey(t), &ca, serial(2))
	long := certify(t, "long", ecKey(t), &ca, serial(3), valid(0, 400))
	encode := base64.StdEncoding.EncodeToString
	user := func(fields string) []byte {
		return []byte("kind: Config\nusers: [{name: u, user: {" + fields + "}}]")
	}
	good := encode(client.pem())
	const location, field = "/etc/kubernetes/admin.conf", "users/u/client-certificate"
	for name, c := range map[string]struct {
		text     []byte
		failure  Failure
		flaw     Flaw
		subjects string
	}{
		"all":                   {kubeconfigOf("u", ca, client, client.keyPEM(t)), Failure{}, Flaw{}, "ca client"},
		"bundle of CAs":         {[]byte("clusters: [{name: c, cluster: {certificate-authority-data: " + encode(join(ca.pem(), ca.pem())) + "}}]"), Failure{}, Flaw{}, "ca ca"},
		"token":                 {user("token: x"), Failure{}, Flaw{}, ""},
		"no key":                {user("client-certificate-data: " + good), Failure{}, Flaw{}, "client"},
		"key in another file":   {user("client-key: /no/such/file, client-certificate-data: " + good), Failure{}, Flaw{}, "client"},
		"another key":           {user("client-key-data: " + encode(ca.keyPEM(t)) + ", client-certificate-data: " + good), Failure{}, Flaw{field, ProblemKeyMismatch}, "client"},
		"no Base64 in the key":  {user("client-key-data: '?', client-certificate-data: " + good), Failure{field, ReasonKey}, Flaw{}, "client"},
		"no key in the key":     {user("client-key-data: QQ==, client-certificate-data: " + good), Failure{field, ReasonKey}, Flaw{}, "client"},
		"no Base64":             {user("client-certificate-data: '?'"), Failure{field, ReasonKubeconfig}, Flaw{}, ""},
		"no certificate":        {user("client-certificate-data: " + encode(ca.keyPEM(t))), Failure{field, ReasonNoCertificate}, Flaw{}, ""},
		"truncated":             {user("client-certificate-data: " + encode(client.pem()[:99])), Failure{field, ReasonPEM}, Flaw{}, ""},
		"white space":           {user("client-certificate-data: " + encode([]byte("\n"))), Failure{field, ReasonEmpty}, Flaw{}, ""},
		"relative":              {user("client-certificate: pki/client.pem"), Failure{}, Flaw{}, "client"},
		"relative, upwards":     {user("client-certificate: ../../opt/client.pem"), Failure{}, Flaw{}, "client"},
		"one file":              {user("client-certificate: pki/client.pem, client-key: pki/client.pem"), Failure{}, Flaw{}, "client"},
		"one file, another key": {user("client-certificate: pki/mismatch.pem, client-key: pki/mismatch.pem"), Failure{}, Flaw{field, ProblemKeyMismatch}, "client"},
		"file and key":          {user("client-certificate: pki/client.pem, client-key-data: " + encode(client.keyPEM(t))), Failure{}, Flaw{}, "client"},
		"the key's file":        {user("client-certificate: pki/client.key"), Failure{field, ReasonNoCertificate}, Flaw{}, ""},
		"missing file":          {user("client-certificate: /no/such/file"), Failure{field, ReasonVanished}, Flaw{}, ""},
		"a folder":              {user("client-certificate: /etc"), Failure{field, ReasonNotRegular}, Flaw{}, ""},
		"outlives its issuer":   {kubeconfigOf("u", ca, long, long.keyPEM(t)), Failure{}, Flaw{field, ProblemIssuerExpiresFirst}, "ca long"},
		"not a kubeconfig":      {[]byte("hello"), Failure{"", ReasonKubeconfig}, Flaw{}, ""},
		"too large":             {bytes.Repeat([]byte("#"), maxKubeconfig+1), Failure{"", ReasonTooLarge}, Flaw{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.write(location, c.text)
			h.write("/opt/client.pem", client.pem(), client.keyPEM(t))
			h.write("/opt/client.key", client.pem(), client.keyPEM(t))
			h.write("/opt/mismatch.pem", client.pem(), ca.keyPEM(t))
			h.link("/opt", "/etc/kubernetes/pki")
			f := h.files(FilesConfig{Paths: []string{"/none*"}})
			entries, err := f.read(t.Context())
			if err != nil || len(entries) != 1 || entries[0].Location != location {
				t.Fatalf("%+v, %v", entries, err)
			}
			var subjects []string
			for _, told := range entries[0].Certificates {
				subjects = append(subjects, told.Subject)
			}
			expect(t, "subjects", subjects, strings.Fields(c.subjects)...)
			expect(t, "failures", said(entries[0].Failures), said([]Failure{c.failure})...)
			expect(t, "flaws", said(entries[0].Flaws), said([]Flaw{c.flaw})...)
		})
	}
}

// TestKubeconfigsAreBounded has one that names the same large bundle for each user.
func TestKubeconfigsAreBounded(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.write("/bundle.pem", bytes.Repeat(certify(t, "x", edKey(t), nil).pem(), maxCertificates))
	h.write("/etc/kubernetes/admin.conf", []byte("users: ["+
		strings.Repeat("{name: u, user: {client-certificate: /bundle.pem}}, ", maxKubeconfigFields)+"]"))
	entries, err := h.files(FilesConfig{}).read(t.Context())
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	if n := len(entries[0].Certificates); n != maxFileCertificates {
		t.Errorf("%d certificates", n)
	}
	failures := slices.Compact(entries[0].Failures)
	expect(t, "failures", said(failures), "{users/u/client-certificate too_many}")
}

// said is each of list as text, without zero values.
func said[T comparable](list []T) []string {
	var all []string
	for _, item := range list {
		if item != *new(T) {
			all = append(all, fmt.Sprint(item))
		}
	}
	return all
}

// FuzzKubeconfig proves that what is read stays within the bounds, and that a reason
// comes with no fields.
func FuzzKubeconfig(f *testing.F) {
	ca := certify(f, "ca", edKey(f), nil, isCA)
	f.Add(kubeconfigOf("u", ca, ca, ca.keyPEM(f)))
	f.Add([]byte(`{"kind":"Config","users":[{"name":"a","user":{"client-certificate":"a"}}]}`))
	f.Add([]byte(bomb()))
	f.Add([]byte("users: [{name: a, user: &u {client-certificate: /a}}, {name: b, user: *u}]"))
	f.Add([]byte("kind: Config\nusers: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		fields, reason := parseKubeconfig(text)
		if reason != "" && fields != nil || len(fields) > maxKubeconfigFields {
			t.Errorf("%d fields, reason %q", len(fields), reason)
		}
		for _, field := range fields {
			if !strings.HasPrefix(field.name, "users/") && !strings.HasPrefix(field.name, "clusters/") {
				t.Errorf("field %q", field.name)
			}
			if len(field.data)+len(field.file)+len(field.keyData)+len(field.keyFile) > 4*maxKubeconfig {
				t.Error("larger than the file")
			}
			if file := kubeconfigPath("/etc/kubernetes/admin.conf", field.file); !strings.HasPrefix(file, "/") || strings.Contains(file+"/", "/../") {
				t.Errorf("path %q", file)
			}
		}
	})
}
