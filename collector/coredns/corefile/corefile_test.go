package corefile

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy/caddyfile"
)

// healthy passes every check.
const healthy = `.:53 {
    errors
    health {
       lameduck 15s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods verified
       fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       prefer_udp
    }
    cache 30
    loop
    reload
    loadbalance
}
`

// with is the healthy Corefile with something else in place of a part of it.
func with(part, other string) string {
	if strings.Count(healthy, part) != 1 {
		panic("not one place: " + part)
	}
	return strings.Replace(healthy, part, other, 1)
}

const (
	healthLines  = "    health {\n       lameduck 15s\n    }\n"
	forwardLines = "    forward . /etc/resolv.conf {\n       prefer_udp\n    }\n"
	lastLine     = "    loadbalance\n"
)

// all are the names of all checks.
func all() []string {
	f, err := Parse(healthy)
	if err != nil {
		panic(err)
	}
	return slices.Sorted(maps.Keys(f.Checks(false)))
}

func TestChecks(t *testing.T) {
	t.Parallel()
	const dash = "absent"
	tests := map[string]struct {
		text   string
		legacy bool
		// want tells where the result differs from all good.
		want map[string]string
	}{
		"healthy":           {text: healthy},
		"comments":          {text: with("    ready\n", "    # health\n    ready # not autopath\n")},
		"quoted words":      {text: with("    ready\n", "    \"ready\"\n    log . \"} autopath {\"\n")},
		"carriage returns":  {text: strings.ReplaceAll(healthy, "\n", "\r\n")},
		"byte order mark":   {text: "\ufeff" + healthy},
		"no newline at end": {text: strings.TrimSuffix(healthy, "\n")},
		"without braces":    {text: strings.TrimSuffix(with(".:53 {\n", ".:53\n"), "}\n")},

		"no health":               {text: with(healthLines, ""), want: map[string]string{"health": "0", "lameduck": "0"}},
		"health is a comment":     {text: with(healthLines, "# health {\n# lameduck 15s\n# }\n"), want: map[string]string{"health": "0", "lameduck": "0"}},
		"health is an argument":   {text: with(healthLines, "    log health\n"), want: map[string]string{"health": "0", "lameduck": "0"}},
		"health without lameduck": {text: with(healthLines, "    health\n"), want: map[string]string{"lameduck": "0"}},
		"lameduck too short":      {text: with("lameduck 15s", "lameduck 14999ms"), want: map[string]string{"lameduck": "0"}},
		"lameduck in other units": {text: with("lameduck 15s", "lameduck 0.25m")},
		"lameduck without unit":   {text: with("lameduck 15s", "lameduck 15"), want: map[string]string{"lameduck": "0"}},
		"lameduck negative":       {text: with("lameduck 15s", "lameduck -15s"), want: map[string]string{"lameduck": "0"}},
		"lameduck without value":  {text: with("lameduck 15s", "lameduck"), want: map[string]string{"lameduck": "0"}},
		"lameduck twice":          {text: with("lameduck 15s", "lameduck 20s\n lameduck 5s"), want: map[string]string{"lameduck": "0"}},
		// CoreDNS takes the brace for a second value and does not start.
		"lameduck in one line":       {text: with(healthLines, "    health { lameduck 15s }\n"), want: map[string]string{"lameduck": "0"}},
		"lameduck from environment":  {text: with("lameduck 15s", "lameduck {$LAMEDUCK}"), want: map[string]string{"lameduck": dash}},
		"lameduck outside of health": {text: with(healthLines, "    health\n    lameduck 15s\n"), want: map[string]string{"lameduck": "0"}},
		"health in another block":    {text: with(healthLines, "") + "example.org {\n" + healthLines + "}\n"},

		"no ready":                    {text: with("    ready\n", ""), want: map[string]string{"ready": "0"}},
		"ready with an address":       {text: with("    ready\n", "    ready :8182\n")},
		"ready that is not supported": {text: healthy, legacy: true, want: map[string]string{"ready": "0"}},
		"no ready where it does not exist": {
			text: with("    ready\n", ""), legacy: true,
		},
		"proxy where there was forward": {
			text: with(forwardLines, "    proxy . /etc/resolv.conf\n"),
			want: map[string]string{"forward": "0", "prefer_udp": dash},
		},
		"proxy in its time": {
			text: strings.Replace(with(forwardLines, "    proxy . /etc/resolv.conf\n"), "    ready\n", "", 1), legacy: true,
			want: map[string]string{"prefer_udp": dash},
		},

		"autopath":                  {text: with(lastLine, lastLine+"    autopath @kubernetes\n"), want: map[string]string{"no_autopath": "0"}},
		"autopath in another block": {text: healthy + "example.org {\n    autopath @kubernetes\n}\n", want: map[string]string{"no_autopath": "0"}},
		"autopath is an argument":   {text: with(lastLine, lastLine+"    log autopath\n")},

		"no prefer_udp":              {text: with(forwardLines, "    forward . /etc/resolv.conf\n"), want: map[string]string{"prefer_udp": "0"}},
		"prefer_udp misspelt":        {text: with("prefer_udp", "perfer_udp"), want: map[string]string{"prefer_udp": "0"}},
		"prefer_udp is an argument":  {text: with("       prefer_udp", "       policy prefer_udp"), want: map[string]string{"prefer_udp": "0"}},
		"prefer_udp and force_tcp":   {text: with("prefer_udp", "prefer_udp\n force_tcp"), want: map[string]string{"prefer_udp": "0"}},
		"prefer_udp of another zone": {text: with("    forward . ", "    forward . 100.100.2.136 {\n    }\n    forward example.org "), want: map[string]string{"prefer_udp": "0"}},
		"another zone without it":    {text: with(lastLine, lastLine+"    forward example.org 192.0.2.1\n")},
		"another block without it":   {text: healthy + "example.org {\n    forward . 192.0.2.1\n}\n"},
		"forward from environment":   {text: with("forward . ", "forward {$ZONE} "), want: map[string]string{"forward": dash, "prefer_udp": dash}},
		"upstream from environment":  {text: with("/etc/resolv.conf", "{$UPSTREAM} {%OTHER%}")},
		"forward nowhere":            {text: with("/etc/resolv.conf", ""), want: map[string]string{"forward": "0"}},
		"no forward":                 {text: with(forwardLines, ""), want: map[string]string{"forward": "0", "prefer_udp": dash}},
		"forward of another zone":    {text: with("forward . ", "forward example.org "), want: map[string]string{"forward": "0", "prefer_udp": dash}},

		"no errors":      {text: with("    errors\n", ""), want: map[string]string{"errors": "0"}},
		"no kubernetes":  {text: with("    kubernetes cluster.local", "    k8s_event"), want: map[string]string{"kubernetes": "0"}},
		"no cache":       {text: with("    cache 30\n", ""), want: map[string]string{"cache": "0"}},
		"no loop":        {text: with("    loop\n", ""), want: map[string]string{"loop": "0"}},
		"no reload":      {text: with("    reload\n", ""), want: map[string]string{"reload": "0"}},
		"no loadbalance": {text: with(lastLine, ""), want: map[string]string{"loadbalance": "0"}},
		"kubernetes in a block of its own": {
			text: strings.Replace(healthy, "    kubernetes cluster.local in-addr.arpa ip6.arpa {\n       pods verified\n       fallthrough in-addr.arpa ip6.arpa\n    }\n", "", 1) +
				"cluster.local {\n    kubernetes\n}\n",
		},

		"no prometheus":                {text: with("    prometheus :9153\n", ""), want: map[string]string{"prometheus": "0"}},
		"metrics on loopback":          {text: with("prometheus :9153", "prometheus"), want: map[string]string{"prometheus": "0"}},
		"metrics on loopback by name":  {text: with("prometheus :9153", "prometheus LocalHost:9153"), want: map[string]string{"prometheus": "0"}},
		"metrics on loopback over v6":  {text: with("prometheus :9153", "prometheus [::1]:9153"), want: map[string]string{"prometheus": "0"}},
		"metrics on all addresses":     {text: with("prometheus :9153", "prometheus 0.0.0.0:9253")},
		"metrics on the pod's address": {text: with("prometheus :9153", "prometheus {$POD_IP}:9153"), want: map[string]string{"prometheus": dash}},

		"hosts that falls through":         {text: with("    cache", "    hosts /etc/more {\n       192.0.2.1 a.example\n       fallthrough\n    }\n    cache")},
		"hosts without fallthrough":        {text: with("    cache", "    hosts {\n       192.0.2.1 a.example\n    }\n    cache"), want: map[string]string{"hosts_fallthrough": "0"}},
		"hosts in one word":                {text: with("    cache", "    hosts\n    cache"), want: map[string]string{"hosts_fallthrough": "0"}},
		"hosts falls through in part":      {text: with("    cache", "    hosts {\n       fallthrough in-addr.arpa ip6.arpa\n    }\n    cache"), want: map[string]string{"hosts_fallthrough": "0"}},
		"hosts falls through at the root":  {text: with("    cache", "    hosts {\n       fallthrough example.org .\n    }\n    cache")},
		"hosts falls through somewhere":    {text: with("    cache", "    hosts {\n       fallthrough {$ZONES}\n    }\n    cache"), want: map[string]string{"hosts_fallthrough": dash}},
		"hosts of one zone":                {text: with("    cache", "    hosts /etc/more example.org\n    cache")},
		"hosts of the root":                {text: with("    cache", "    hosts /etc/more example.org .\n    cache"), want: map[string]string{"hosts_fallthrough": "0"}},
		"hosts of a block for another one": {text: healthy + "example.org {\n    hosts /etc/more\n}\n"},
		"a host of that name":              {text: with("    cache", "    hosts {\n       192.0.2.1 fallthrough\n    }\n    cache"), want: map[string]string{"hosts_fallthrough": "0"}},

		"another port":             {text: with(".:53", ".:1053")},
		"no port":                  {text: with(".:53", ".")},
		"port alone":               {text: with(".:53", ":53")},
		"a scheme":                 {text: with(".:53", "dns://.")},
		"several zones":            {text: with(".:53", "example.org, .:53")},
		"zones in several lines":   {text: with(".:53", "example.org,\n.:53")},
		"root on another port too": {text: healthy + ".:5353 {\n    whoami\n}\n"},
		"root over TLS too":        {text: healthy + "tls://. {\n    whoami\n}\n"},
		"root on one address without cache": {
			text: strings.Replace(healthy, "{\n", "{\n    bind 192.0.2.1\n", 1) + with("    cache 30\n", "    bind 192.0.2.2\n"),
			want: map[string]string{"cache": "0"},
		},
		"no root": {text: with(".:53", "cluster.local:53"), want: map[string]string{
			"root": "0", "errors": dash, "cache": dash, "loop": dash, "loadbalance": dash,
			"forward": dash, "prefer_udp": dash, "prometheus": dash, "hosts_fallthrough": dash,
		}},
		"zone from environment": {text: with(".:53", ".:{$PORT}"), want: map[string]string{
			"root": dash, "errors": dash, "cache": dash, "loop": dash, "loadbalance": dash,
			"forward": dash, "prefer_udp": dash, "prometheus": dash, "hosts_fallthrough": dash,
		}},
		"zone from environment beside the root": {text: healthy + "{$ZONE} {\n    whoami\n}\n"},
		"empty": {text: "", want: map[string]string{
			"health": "0", "lameduck": "0", "ready": "0", "reload": "0", "kubernetes": "0", "errors": "0",
			"cache": "0", "loop": "0", "loadbalance": "0", "forward": "0", "prefer_udp": dash, "prometheus": "0",
		}},

		"snippets": {text: "(common) {\n    errors\n    cache 30\n}\n(all) {\n    import common\n    loop\n}\n" +
			strings.NewReplacer("    errors\n", "    import all\n", "    cache 30\n", "", "    loop\n", "").Replace(healthy)},
		"snippet in a block": {
			text: "(quick) {\n    lameduck 5s\n}\n" + with("lameduck 15s", "import quick"),
			want: map[string]string{"lameduck": "0"},
		},
		"snippet that is empty": {text: "(none) {\n}\n" + with("    cache 30\n", "    import none\n"), want: map[string]string{"cache": "0"}},
		"snippet not imported":  {text: "(spare) {\n    autopath @kubernetes\n}\n" + healthy},
		"snippet of blocks":     {text: "(other) {\n    example.org {\n        autopath @kubernetes\n    }\n}\n" + healthy + "import other\n", want: map[string]string{"no_autopath": "0"}},

		"file in the block": {
			text: with("    cache 30\n", "    import /etc/coredns/custom/*.override\n"),
			want: map[string]string{"cache": dash, "no_autopath": dash, "hosts_fallthrough": dash},
		},
		"file beside the block": {
			text: with("    ready\n", "") + "import /etc/coredns/custom/*.server\n",
			want: map[string]string{"ready": dash, "no_autopath": dash},
		},
		"file before the block": {
			text: "import ../custom/snippets\n" + with("    cache 30\n", "    import common\n"),
			want: map[string]string{"cache": dash, "no_autopath": dash, "hosts_fallthrough": dash},
		},
		"file in health": {text: with("lameduck 15s", "import lameduck.conf"), want: map[string]string{"lameduck": dash}},
		"file in forward": {
			text: with("       prefer_udp", "       import a.conf\n       import b.conf"),
			want: map[string]string{"prefer_udp": dash},
		},
		"file in hosts": {
			text: with("    cache", "    hosts {\n       import hosts.conf\n    }\n    cache"),
			want: map[string]string{"hosts_fallthrough": dash},
		},
		"file in hosts that falls through": {text: with("    cache", "    hosts {\n       import hosts.conf\n       fallthrough\n    }\n    cache")},
		"file and byte order mark": {
			text: "\ufeff" + with("    loop\n", "    loop\n    import more\n"),
			want: map[string]string{"no_autopath": dash, "hosts_fallthrough": dash},
		},
		"two files": {
			text: with("    cache 30\n", "    import a.conf\n    import b.conf\n    cache 30\n"),
			want: map[string]string{"no_autopath": dash, "hosts_fallthrough": dash},
		},
		"file from environment": {
			text: with("    cache 30\n", "    import {$FILE}\n"),
			want: map[string]string{"cache": dash, "no_autopath": dash, "hosts_fallthrough": dash},
		},
		"nothing but a file": {text: "import /etc/coredns/all\n", want: func() map[string]string {
			want := make(map[string]string)
			for _, name := range all() {
				want[name] = dash
			}
			delete(want, "parse")
			return want
		}()},
		"directive from environment": {
			text: with("    cache 30\n", "    {$PLUGIN} 30\n"),
			want: map[string]string{"cache": dash, "no_autopath": dash, "hosts_fallthrough": dash},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := Parse(test.text)
			if err != nil {
				t.Fatal(err)
			}
			got := f.Checks(test.legacy)
			for _, check := range all() {
				want := "1"
				if other, ok := test.want[check]; ok {
					want = other
				}
				is := dash
				if passed, known := got[check]; known {
					is = map[bool]string{true: "1", false: "0"}[passed]
				}
				if is != want {
					t.Errorf("%s is %s, want %s\n%s", check, is, want, test.text)
				}
			}
			if len(got) > len(all()) {
				t.Errorf("other checks: %v", got)
			}
		})
	}
}

func TestLameduck(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text  string
		want  time.Duration
		known bool
	}{
		"long":         {healthy, 15 * time.Second, true},
		"short":        {with("15s", "5s"), 5 * time.Second, true},
		"none":         {with(healthLines, "    health\n"), 0, true},
		"negative":     {with("15s", "-5s"), 0, true},
		"several":      {healthy + "example.org {\n health :8081 {\n lameduck 25s\n }\n}\n", 25 * time.Second, true},
		"no health":    {with(healthLines, ""), 0, false},
		"unreadable":   {with("15s", "soon"), 0, false},
		"environment":  {with("15s", "{$TIME}"), 0, false},
		"in a file":    {with("lameduck 15s", "import x"), 0, false},
		"perhaps more": {with("    cache 30\n", "    import x\n"), 15 * time.Second, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := Parse(test.text)
			if err != nil {
				t.Fatal(err)
			}
			got, known := f.Lameduck()
			if known != test.known || known && got != test.want {
				t.Errorf("got %s, %t; want %s, %t", got, known, test.want, test.known)
			}
		})
	}
}

func TestParseFails(t *testing.T) {
	t.Parallel()
	many := func(n int, text func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(text(i))
		}
		return b.String()
	}
	tests := map[string]struct {
		text   string
		target error
		says   string
	}{
		"brace left open":   {".:53 {\n    errors\n", ErrSyntax, "Corefile:2 - "},
		"directive open":    {".:53 {\n    health {\n", ErrSyntax, "Corefile:2 - "},
		"brace in a line":   {".:53 {\n    health }\n}\n", ErrSyntax, "Corefile:2 - "},
		"line below a file": {".:53 {\n    import a.conf\n    import b.conf\n    health {\n", ErrSyntax, "Corefile:4 - "},
		"comma at the end":  {".:53,\n", ErrSyntax, "Corefile:1 - "},
		"import of nothing": {".:53 {\n    import\n}\n", ErrSyntax, "Corefile:2 - "},
		"import of no name": {".:53 {\n    import \"\"\n}\n", ErrSyntax, "Corefile:2 - "},
		"import of two":     {".:53 {\n    import a b\n}\n", ErrSyntax, "Corefile:2 - "},
		// CoreDNS looks for a file of that name.
		"snippet too late":  {". {\n    import late\n}\n(late) {\n    errors\n}\n", ErrSyntax, "Corefile:2 - "},
		"snippet of itself": {"(a) {\n    import a\n}\n. {\n    import a\n}\n", ErrSyntax, `"a" imports itself`},
		"snippets in a loop": {
			"(a) {\n    import b\n}\n(b) {\n    import a\n}\n. {\n    import a\n}\n", ErrSyntax, "imports itself",
		},
		"too large":           {strings.Repeat("#", MaxSize+1), ErrRefused, "262144 bytes"},
		"too many words":      {strings.Repeat("a ", maxTokens+1), ErrRefused, "25000 words"},
		"too deep":            {". {\n" + strings.Repeat("a {\n", 25_000) + strings.Repeat("}\n", 25_001), ErrRefused, "25000 words"},
		"too many imports":    {many(maxImports+1, func(i int) string { return fmt.Sprintf("import x%d\n", i) }), ErrRefused, "1000 imports"},
		"file with backslash": {". {\n    import a\\b\n}\n", ErrRefused, "backslash"},
		"snippet like a file": {"(/etc/passwd) {\n}\n. {\n    import /etc/passwd\n}\n", ErrRefused, "name of a file"},
		"snippet twice":       {"(a) {\n}\n(a) {\n}\n. {\n    import a\n}\n", ErrRefused, "one place"},
		"snippet in a line":   {". (a) {\n    import a\n}\n", ErrRefused, "one place"},
		"snippets that double": {
			many(20, func(i int) string {
				return fmt.Sprintf("(s%d) {\n    import s%d\n    import s%d\n}\n", 20-i, 19-i, 19-i)
			}) +
				"(s0) {\n    errors\n}\n. {\n    import s20\n}\n", ErrRefused, "too many",
		},
		"large snippet often": {
			"(a) {\n" + strings.Repeat("    errors\n", 2_000) + "}\n. {\n" + strings.Repeat("    import a\n", 900) + "}\n", ErrRefused, "too large",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(test.text)
			if !errors.Is(err, test.target) {
				t.Fatalf("got %v, want %v", err, test.target)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("%q does not say %q", err, test.says)
			}
		})
	}
}

// TestHostile reads texts that are as bad as the bounds allow. The time limit of the
// tests bounds the time.
func TestHostile(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"deep":           ".:53 {\n" + strings.Repeat("a {\n", 8_300) + strings.Repeat("}\n", 8_300) + "}\n",
		"deep in health": ".:53 {\nhealth " + strings.Repeat("{\n", 12_000) + strings.Repeat("}\n", 12_000) + "}\n",
		"wide":           ".:53 {\n" + strings.Repeat("a\n", 24_000) + "}\n",
		"long word":      ".:53 {\n" + strings.Repeat("{$a}", 60_000) + "\n}\n",
		"snippets":       "(a) {\n" + strings.Repeat("errors\n", 1000) + "}\n. {\n" + strings.Repeat("import a\n", 20) + "}\n",
		"files":          ". {\n" + strings.Repeat("import a\n", maxImports/2) + "}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if checks := f.Checks(false); !checks[CheckRoot] {
				t.Errorf("no root: %v", checks)
			}
		})
	}
}

// TestReadsNothing shows that neither a file of this machine nor the environment gets
// into what is parsed.
func TestReadsNothing(t *testing.T) {
	const secret = "canary4711"
	t.Setenv("CANARY", secret)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, text := range []string{
		". {\n    log {$CANARY} {%CANARY%}\n}\n",
		". {\n    {$CANARY}\n}\n",
		"{$CANARY}:53 {\n}\n",
		". {\n    log {\r$CANARY}\n}\n",
		". {\n    log \"{$CANARY}\"\n}\n",
		". {\n    log {{$CANARY}} {%{$CANARY}%}\n}\n",
		"({$CANARY}) {\n    errors\n}\n. {\n    import {$CANARY}\n}\n",
		"import " + dir + "/file\n",
		"import file\n",
		"import ./*\n",
		"import \"" + dir + "/file\"\n",
		". {\n    import " + dir + "/fil?\n}\n",
		". {\n    log {\n        import " + dir + "/*\n    }\n}\n",
		"(a) {\n    import " + dir + "/file\n}\n. {\n    import a\n}\n",
		"(a) {\n    import b\n}\n(b) {\n    \"import\" file\n}\n. {\n    import a\n}\n",
		"{$IMPORT} file\n",
	} {
		f, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if dump := fmt.Sprintf("%+v", f); strings.Contains(dump, secret) {
			t.Errorf("%q became %s", text, dump)
		}
	}
	for _, text := range []string{
		". {\n    import file\n}\n(file) {\n    errors\n}\n",
		".\nerrors {\n}\n(file) {\n}\nimport file\n",
	} {
		if f, err := Parse(text); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q became %+v, %v", text, f, err)
		}
	}
}

// TestSum compares with what CoreDNS itself logs for the Corefile of kubeadm: 1.7
// and 1.8 the MD5, 1.10 and 1.11 the SHA512.
func TestSum(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("testdata", "kubeadm.corefile"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for algorithm, want := range map[string]string{
		"md5":    "db32ca3650231d74073ff4cf814959a7",
		"sha512": "591cf328cccc12bc490481273e738df59329c62c0b729d94e8b61db9961c2fa5f046dd37f1cf888b953814040d180f52594972691cd6ff41be96639138a43908",
	} {
		if got, known := f.Sum(algorithm); !known || got != want {
			t.Errorf("%s: got %s, %t; want %s", algorithm, got, known, want)
		}
	}
	if _, known := f.Sum("crc32"); known {
		t.Error("a sum by an algorithm that does not exist")
	}
}

func TestSumUnknown(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"environment":     with("15s", "{$TIME}"),
		"file":            healthy + "import more\n",
		"carriage return": with("    loop\n", "    loop\r\n"),
	} {
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if sum, known := f.Sum("sha512"); known {
			t.Errorf("%s: %s", name, sum)
		}
	}
	f, err := Parse("(a) {\n    errors\n}\n. {\n    import a\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, known := f.Sum("sha512"); !known {
		t.Error("a snippet makes the sum unknown")
	}
}

// FuzzCorefile shows that no text makes the parser panic, hang, read a file or the
// environment, or see anything but what the parser of CoreDNS sees by itself.
func FuzzCorefile(f *testing.F) {
	const secret = "canary4711"
	f.Setenv("CANARY", secret)
	dir := f.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"", healthy, "import " + file + "\n", "{$CANARY} {\n {%CANARY%}\n}\n",
		"(a) {\n import " + file + "\n}\n. {\n import a\n health { lameduck 15s }\n}\n",
		". {\n hosts {\n import x\n }\n}\n", "(a) {\n (b) {\n errors\n}\n}\nimport a\n. {\n import b\n}\n",
		"\"(a)\" {\n}\nimport \"a\"\n", "a,\n. {\n bind {\r$CANARY}\n}\n", "(import) {\n}\nimport import\n",
		"(a) {\n import\n} (b) { " + file + " }\n. {\n import a\n import b\n}\n", "import {\n}\n", "import }\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrRefused) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		parsed.Checks(true)
		checks := parsed.Checks(false)
		if !checks[CheckParse] {
			t.Error("parsed, and yet not")
		}
		parsed.Lameduck()
		sum, known := parsed.Sum("sha512")
		if !strings.Contains(text, secret) {
			if dump := fmt.Sprintf("%+v", parsed); strings.Contains(dump, secret) {
				t.Fatalf("read what it must not: %s", dump)
			}
		}
		if !known {
			return
		}
		blocks, err := caddyfile.Parse("/dev/null/Corefile", strings.NewReader(text), nil)
		if err != nil {
			t.Fatalf("the parser refuses it: %v", err)
		}
		if again, _ := (&File{source: blocks}).Sum("sha512"); blocks != nil && again != sum {
			t.Errorf("the sum is %s, want %s", sum, again)
		}
	})
}

// BenchmarkParse reads texts that cost as much as the bounds allow.
func BenchmarkParse(b *testing.B) {
	for name, text := range map[string]string{
		"ordinary": healthy,
		"blocks":   strings.Repeat("a {\nb\n}\n", maxTokens/4),
		"words":    ".:53 {\n" + strings.Repeat("a\n", maxTokens-3) + "}\n",
		"snippets": "(a) {\n" + strings.Repeat("errors\n", 1000) + "}\n. {\n" + strings.Repeat("import a\n", 43) + "}\n",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
