package nodelocaldns

import (
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
)

const hostStackSeries = `ack_nodelocaldns_terway_check{check="host_stack_cidrs"}`

func TestHostStackCIDRs(t *testing.T) {
	t.Parallel()
	conf := func(fields string) map[string]string {
		return map[string]string{"10-terway.conf": `{"name":"terway",` + fields + `"type":"terway"}`}
	}
	for name, c := range map[string]struct {
		data map[string]string
		want string // "": no series
	}{
		"as ACK writes it":     {conf(`"eniip_virtual_type":"IPVlan","host_stack_cidrs":["169.254.20.10/32"],`), "1"},
		"lower case":           {conf(`"eniip_virtual_type":"ipvlan","host_stack_cidrs":["169.254.20.10/32"],`), "1"},
		"among others":         {conf(`"eniip_virtual_type":"IPvlan","host_stack_cidrs":["10.0.0.0/8","169.254.20.10/32"],`), "1"},
		"a wider block":        {conf(`"eniip_virtual_type":"IPVlan","host_stack_cidrs":["169.254.0.0/16"],`), "1"},
		"absent":               {conf(`"eniip_virtual_type":"IPVlan",`), "0"},
		"empty":                {conf(`"eniip_virtual_type":"IPVLAN","host_stack_cidrs":[],`), "0"},
		"null":                 {conf(`"eniip_virtual_type":"IPVlan","host_stack_cidrs":null,`), "0"},
		"the next address":     {conf(`"eniip_virtual_type":"IPVlan","host_stack_cidrs":["169.254.20.11/32"],`), "0"},
		"veth does not need":   {conf(`"eniip_virtual_type":"Veth",`), ""},
		"no type":              {conf(``), ""},
		"DataPathV2":           {conf(`"eniip_virtual_type":"datapathv2",`), ""},
		"a chain, good":        {map[string]string{"10-terway.conflist": `{"plugins":[{"type":"portmap"},` + ipvlan + `]}`}, "1"},
		"the chain comes 1st":  {map[string]string{"10-terway.conf": ipvlan, "10-terway.conflist": `{"plugins":[{"type":"terway","eniip_virtual_type":"ipvlan"}]}`}, "0"},
		"an empty chain":       {map[string]string{"10-terway.conf": ipvlan, "10-terway.conflist": " "}, "1"},
		"a chain in conf":      {map[string]string{"10-terway.conf": `{"name":"terway","plugins":[` + ipvlan + `]}`}, "1"},
		"others in the chain":  {map[string]string{"10-terway.conflist": `{"plugins":[{"type":"terway"},{"type":"cilium-cni","eniip_virtual_type":"ipvlan"}]}`}, ""},
		"unknown fields in it": {conf(`"eniip_virtual_type":"IPVlan","capabilities":{"bandwidth":true},`), "0"},
	} {
		s := healthy()
		s.ENIConfig = of(eniConfig(c.data))
		got, err := collectortest.Collect(t, New(s))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.want == "" && strings.Contains(got, hostStackSeries) {
			t.Errorf("%s: there is a series in\n%s", name, got)
		}
		if c.want != "" {
			contains(t, got, hostStackSeries+" "+c.want)
		}
	}
}

func TestBadTerwayConfigurationHarmsNothingElse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ config, says string }{
		"no JSON":      {"eniip_virtual_type: IPVlan", "key 10-terway.conf: invalid character"},
		"cut":          {ipvlan[:len(ipvlan)-1], "unexpected end"},
		"wrong type":   {`{"type":"terway","host_stack_cidrs":"169.254.20.10/32"}`, "host_stack_cidrs"},
		"no CIDR":      {`{"type":"terway","eniip_virtual_type":"IPVlan","host_stack_cidrs":["169.254.20.10"]}`, "field host_stack_cidrs: netip"},
		"no terway":    {`{"type":"flannel"}`, "there is no plug-in of type terway"},
		"huge":         {`{"type":"terway","a":"` + strings.Repeat("x", 1<<20) + `"}`, "more than 1048576 bytes"},
		"a long value": {`{"type":"terway","host_stack_cidrs":["` + strings.Repeat("\u00e9", 10_000) + `"]}`, "..."},
		"deep":         {strings.Repeat(`{"plugins":[`, 20_000), "exceeded max depth"},
	} {
		s := healthy()
		s.ENIConfig = of(eniConfig(map[string]string{"10-terway.conf": c.config}))
		got, err := collectortest.Collect(t, New(s))
		if !errors.Is(err, collector.ErrDecode) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v instead of one that says %s", name, err, c.says)
			continue
		}
		if !strings.HasPrefix(err.Error(), "ConfigMap kube-system/eni-config: key 10-terway.conf: ") || len(err.Error()) > 400 {
			t.Errorf("%s: error %v", name, err)
		}
		contains(t, got, `ack_nodelocaldns_terway_check{check="version"} 1`, `ack_nodelocaldns_daemonset_present 1`)
		if strings.Contains(got, hostStackSeries) {
			t.Errorf("%s: there is a verdict in\n%s", name, got)
		}
	}
	s := healthy()
	s.ENIConfig = of(eniConfig(nil))
	if _, err := collectortest.Collect(t, New(s)); !errors.Is(err, collector.ErrDecode) || !strings.Contains(err.Error(), "nothing in the keys 10-terway.conflist, 10-terway.conf") {
		t.Errorf("without a key: %v", err)
	}
}

func TestClusterWithoutTerway(t *testing.T) {
	t.Parallel()
	s := healthy()
	s.Terway, s.ENIConfig = nothing().Terway, of(eniConfig(map[string]string{"10-terway.conf": "no JSON"}))
	got, err := collectortest.Collect(t, New(s))
	if err != nil || strings.Contains(got, "terway") {
		t.Errorf("%v\n%s", err, got)
	}
	s = healthy()
	s.ENIConfig = nothing().ENIConfig
	got, err = collectortest.Collect(t, New(s))
	if err != nil || strings.Contains(got, hostStackSeries) {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestTerwayVersion(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]string{
		"v1.0.10.301-g0115576-aliyun": "1",
		"v1.0.10.300-g0115576-aliyun": "0",
		"v1.0.10.263-gdbe50a9-aliyun": "0",
		"v1.0.10.1000-gdbe50a9":       "1",
		"v1.0.9.999-gfc1045e-aliyun":  "0",
		"v1.0.11":                     "1",
		"v1.0.10":                     "0",
		"v1.12.1-f2d6cd5":             "1",
		"v1.4.0":                      "1",
		"1.0.10.301":                  "1",
		"v2.0":                        "1",
		"v1":                          "",
		"latest":                      "",
		"master-g1234":                "",
		"v1.x.10.301":                 "",
		"v1.0.10.301.5":               "",
		"v1.0.-10.301":                "",
		"v1.0.10.99999999999":         "",
		"":                            "",
	} {
		s := healthy()
		s.Terway = of(daemonSet(terwayName, terwayContainer, "registry.example.com:5000/acs/terway:"+tag))
		got, err := collectortest.Collect(t, New(s))
		if err != nil {
			t.Fatal(err)
		}
		contains(t, got, `ack_nodelocaldns_terway_info{version="`+tag+`"} 1`)
		const series = `ack_nodelocaldns_terway_check{check="version"}`
		if want == "" && strings.Contains(got, series) {
			t.Errorf("%s: there is a verdict in\n%s", tag, got)
		}
		if want != "" {
			contains(t, got, series+" "+want)
		}
	}
}

func TestImageTag(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{
		"registry.example.com/acs/terway:v1.4.0":               "v1.4.0",
		"registry.example.com:5000/acs/terway:v1.4.0":          "v1.4.0",
		"registry.example.com:5000/acs/terway":                 "",
		"registry.example.com/acs/terway:v1.4.0@sha256:abcdef": "v1.4.0",
		"registry.example.com/acs/terway@sha256:abcdef":        "",
		"terway:" + strings.Repeat("x", 129):                   "",
		"":                                                     "",
	} {
		containers := []corev1.Container{{Name: "policy", Image: "p:v0"}, {Name: "terway", Image: image}}
		if got := imageTag(containers, "terway"); got != want {
			t.Errorf("%s: %q instead of %q", image, got, want)
		}
	}
	if got := imageTag([]corev1.Container{{Name: "policy", Image: "p:v0"}}, "terway"); got != "" {
		t.Errorf("the tag %q of another container", got)
	}
}

func FuzzParseNetwork(f *testing.F) {
	for _, s := range []string{ipvlan, `{"plugins":[` + ipvlan + `]}`, `{"type":"terway","host_stack_cidrs":["fe80::1%a/64"]}`, "{", "null", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := readNetwork(eniConfig(map[string]string{"10-terway.conf": s}))
		if err != nil && (!errors.Is(err, collector.ErrDecode) || n != network{}) {
			t.Errorf("%v next to %v", n, err)
		}
		if n.reachable && !strings.Contains(s, "/") && !strings.Contains(s, `\u`) {
			t.Errorf("%q has no CIDR and reaches the cache", s)
		}
	})
}

func FuzzParseVersion(f *testing.F) {
	for _, s := range []string{"v1.0.10.301-g0115576-aliyun", "1.2", "v", "v1.-1", "v1..2", "v0x1.2", "v1_0.2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		version, ok := parseVersion(s)
		if ok != (version != nil) {
			t.Fatalf("%v, %v", version, ok)
		}
		if !ok {
			return
		}
		if len(version) != 4 || !strings.ContainsAny(s, "0123456789") || strings.ContainsAny(strings.SplitN(s, "-", 2)[0], "_xX+ ") {
			t.Errorf("%q: %v", s, version)
		}
		if again, _ := parseVersion(strings.SplitN(s, "-", 2)[0] + "-other"); !slices.Equal(version, again) {
			t.Errorf("%q: %v, with another suffix %v", s, version, again)
		}
	})
}
