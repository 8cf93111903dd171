package sysctl

import (
	"slices"
	"strings"
	"testing"
)

func TestParsePortRange(t *testing.T) {
	t.Parallel()
	good := map[string]PortRange{
		"30000-32767": {30000, 32767},
		"1-65535":     {1, 65535},
		"443-443":     {443, 443},
	}
	for s, want := range good {
		if got, err := ParsePortRange(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	bad := map[string]string{
		"":              "not two ports",
		"30000":         "not two ports",
		"30000:32767":   "not two ports",
		"32767-30000":   "above the last",
		"0-100":         `"0" is no port`,
		"30000-65536":   `"65536" is no port`,
		"30000-":        `"" is no port`,
		"-32767":        `"" is no port`,
		"1-2-3":         `"2-3" is no port`,
		" 30000-32767":  `" 30000" is no port`,
		"30000 - 32767": "is no port",
		"+1-2":          "is no port",
		"http-https":    `"http" is no port`,
	}
	for s, says := range bad {
		if got, err := ParsePortRange(s); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, error %v instead of one that says %s", s, got, err, says)
		}
	}
}

func TestParsePortList(t *testing.T) {
	t.Parallel()
	good := map[string][]PortRange{
		"":                        nil,
		"\n":                      nil,
		"8080\n":                  {{8080, 8080}},
		"8080,9148\n":             {{8080, 8080}, {9148, 9148}},
		"1-3,30000-32767,40000":   {{1, 3}, {30000, 32767}, {40000, 40000}},
		"65535\n":                 {{65535, 65535}},
		"30000-32767,30000-31000": {{30000, 32767}, {30000, 31000}},
	}
	for s, want := range good {
		if got, err := parsePortList(s); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{",", "8080,", "8080 9148", "8080-", "-8080", "9-8", "0", "65536", "x", "1-2-3"} {
		if got, err := parsePortList(s); err == nil {
			t.Errorf("%q: %v instead of an error", s, got)
		}
	}
}

func TestUnreserved(t *testing.T) {
	t.Parallel()
	nodePorts := PortRange{30000, 32767}
	tests := map[string]struct {
		local    PortRange
		reserved []PortRange
		want     int
	}{
		"apart":                     {PortRange{32768, 60999}, nil, 0},
		"one port in common":        {PortRange{32767, 60999}, nil, 1},
		"one port in common, below": {PortRange{1024, 30000}, nil, 1},
		"range within":              {PortRange{31000, 31009}, nil, 10},
		"range around":              {PortRange{1, 65535}, nil, 2768},
		"all reserved":              {PortRange{1, 65535}, []PortRange{{30000, 32767}}, 0},
		"more than all reserved":    {PortRange{1, 65535}, []PortRange{{1, 65535}}, 0},
		"reserved in part":          {PortRange{1, 65535}, []PortRange{{30000, 30009}, {32767, 32767}}, 2757},
		"reserved twice":            {PortRange{1, 65535}, []PortRange{{30000, 30009}, {30005, 30014}}, 2753},
		"reserved elsewhere":        {PortRange{1, 65535}, []PortRange{{1, 29999}, {32768, 65535}}, 2768},
	}
	for name, test := range tests {
		if got := unreserved(test.local.intersect(nodePorts), test.reserved); got != test.want {
			t.Errorf("%s: %d instead of %d", name, got, test.want)
		}
	}
}

func TestDotted(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		ipForward:                          "net.ipv4.ip_forward",
		"net/ipv4/conf/eth0.100/rp_filter": "net.ipv4.conf.eth0/100.rp_filter",
	} {
		if got := dotted(file); got != want {
			t.Errorf("%s: %s instead of %s", file, got, want)
		}
	}
}

func TestEthernetNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"eth0", "eth15", "eth0.100"} {
		if !ethernet.MatchString(name) {
			t.Errorf("%s does not match", name)
		}
	}
	for _, name := range []string{"all", "default", "eth", "ethernet0", "veth0", "eth0@if3", "eth0.", "eth0.1.2", "cali0", "eth0\n"} {
		if ethernet.MatchString(name) {
			t.Errorf("%q matches", name)
		}
	}
}

func FuzzParsePortRange(f *testing.F) {
	for _, s := range []string{"30000-32767", "", "-", "1-65535", "65536-1", "0-0", "1-1-1", "9223372036854775808-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParsePortRange(s)
		if err == nil && (r.First == 0 || r.First > r.Last) {
			t.Errorf("%q: %v", s, r)
		}
		if err != nil && r != (PortRange{}) {
			t.Errorf("%q: %v next to %v", s, r, err)
		}
	})
}

func FuzzParsePortList(f *testing.F) {
	for _, s := range []string{"", "\n", "8080", "1-3,5", "1-65535,1-65535", "5,,5", "0", "3-1", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1<<10 {
			t.Skip("longer than the fuzzer needs")
		}
		list, err := parsePortList(s)
		if err != nil {
			return
		}
		// Count the slow way.
		want := 0
		for port := 30000; port <= 32767; port++ {
			if !slices.ContainsFunc(list, func(r PortRange) bool { return int(r.First) <= port && port <= int(r.Last) }) {
				want++
			}
		}
		if got := unreserved(PortRange{30000, 32767}, list); got != want {
			t.Errorf("%q: %d instead of %d", s, got, want)
		}
	})
}
