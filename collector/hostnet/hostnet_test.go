package hostnet_test

import (
	"errors"
	"strings"
	"testing"

	"ack-exporter/collector/collectortest"
	"ack-exporter/collector/hostnet"
	"ack-exporter/internal/hostfs"
)

// The fixtures of the neighbour are whole proc file systems.
const fixtures = "../conntrack/testdata/"

func TestHostNetworkNamespace(t *testing.T) {
	t.Parallel()
	for tree, want := range map[string]string{"6.18": "1", "foreign": "0"} {
		got, err := collectortest.Collect(t, hostnet.New(hostfs.Procfs(fixtures+tree+"/proc")))
		if err != nil || !strings.HasSuffix(got, "\nack_exporter_host_network_namespace "+want+"\n") {
			t.Errorf("%s: %v\n%s", tree, err, got)
		}
	}
}

func TestNoAnswerIsNoSeries(t *testing.T) {
	t.Parallel()
	got, err := collectortest.Collect(t, hostnet.New("testdata/no-such-proc"))
	if !errors.Is(err, hostfs.ErrHostUnknown) || got != "" {
		t.Errorf("%v\n%s", err, got)
	}
}
