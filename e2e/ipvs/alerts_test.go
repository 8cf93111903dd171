//go:build e2e

package ipvs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ack-exporter/e2e/internal/monitoring/monitoringtest"
	"ack-exporter/e2e/internal/world"
	"ack-exporter/e2e/ipvs/internal/vm"
)

// Ports of the machine.
const (
	exporterPort = 9777
	controlPort  = 9000
)

const node = "node-a"

// alertConfig makes the second step of an alert come after the first, and the
// notification of it.
const alertConfig = `{ alerts+: { ACKIPVSStaleUDPConnections+: { critical+: { 'for': '12s' } } } }`

// TestAlerts looks at the machine with Prometheus and the rules of the mixin,
// from outside.
func TestAlerts(t *testing.T) {
	w := world.New(t)
	g := startGuest(t, w)
	s := monitoringtest.New(t, w, monitoringtest.Options{
		Config:  alertConfig,
		Targets: []monitoringtest.Endpoint{monitoringtest.Target(fmt.Sprintf("127.0.0.1:%d", exporterPort), node, "pod-1")},
	})

	long := monitoringtest.Alert{
		Name: "ACKIPVSUDPTimeoutLong", Severity: monitoringtest.Warning, Node: node,
		Description: `Node node-a keeps idle UDP connections of IPVS for 5m 0s; ACK recommends 10 s where no Service of yours has UDP ports\.`,
	}
	g.post("/ipvsadm", "--set 0 0 300")
	s.Fires(long)
	g.post("/ipvsadm", "--set 0 0 10")
	s.Resolves(long)
	// Whoever has UDP services may need it long.
	g.post("/ipvsadm", "-A -u 10.96.0.20:53 -s rr\n-A -u 10.96.0.21:53 -s rr\n-A -u 10.96.0.22:53 -s rr")
	s.AwaitQuery(`sum(ack_ipvs_services{protocol="udp"})`, 4)
	g.post("/ipvsadm", "--set 0 0 300")

	// Clients keep to their port, and so to a backend that goes away.
	if outcome := g.post("/ask", ""); strings.Count(outcome, "answered 10.244.1.2:5353") != 3 {
		t.Fatalf("half of the clients should be with each backend:\n%s", outcome)
	}
	stale := func(severity string) monitoringtest.Alert {
		return monitoringtest.Alert{
			Name: "ACKIPVSStaleUDPConnections", Severity: severity, Node: node,
			Description: `Node node-a has 3 UDP connections to backends that are gone; their packets are lost\.`,
		}
	}
	g.post("/ipvsadm", "-d -u 10.96.0.10:53 -r 10.244.1.2:5353")
	s.Fires(stale(monitoringtest.Warning))
	if outcome := g.post("/ask", ""); strings.Count(outcome, "silent") != 3 {
		t.Errorf("half of the clients should hear nothing:\n%s", outcome)
	}
	s.Fires(stale(monitoringtest.Critical))
	s.AwaitSuppressed(stale(monitoringtest.Warning))
	g.post("/ipvsadm", "-a -u 10.96.0.10:53 -r 10.244.1.2:5353 -m")
	s.Resolves(stale(monitoringtest.Warning), stale(monitoringtest.Critical))
	s.Done()
}

// guest is a running machine that does what the test asks for.
type guest struct {
	t      *testing.T
	client *http.Client
}

// startGuest boots a machine in a world, where its ports are those of the world.
func startGuest(t *testing.T, w *world.World) *guest {
	t.Helper()
	machine := newMachine(t, append(slices.Clone(needed), "virtio_pci", "virtio_net"))
	machine.Arguments = []string{"serve"}
	machine.Ports = []int{exporterPort, controlPort}
	machine.Start = w.Start
	// Not the test's context: that ends before the functions of t.Cleanup run.
	ctx, cancel := context.WithTimeout(context.Background(), bootTimeout)
	ended := make(chan end, 1)
	go func() {
		result, err := machine.Run(ctx)
		ended <- end{result, err}
	}()
	g := &guest{t: t, client: &http.Client{Timeout: requestTimeout, Transport: &http.Transport{DialContext: w.Dial}}}
	t.Cleanup(func() {
		defer cancel()
		if _, err := g.request(ctx, "/end", ""); err != nil {
			t.Error(err)
			cancel()
		}
		e := <-ended
		if err := e.check(); err != nil || t.Failed() {
			t.Errorf("the machine: %v\nthe end of the record:\n%s\n\nthe end of the console:\n%s", err,
				vm.Tail(e.result.Record, tailLines), vm.Tail(e.result.Console, tailLines))
		}
	})
	world.Eventually(t, bootTimeout, func() error {
		_, err := g.request(t.Context(), "/ipvsadm", "")
		return err
	})
	return g
}

// end is how a machine ended.
type end struct {
	result *vm.Result
	err    error
}

// check is nil where the machine did everything and switched itself off.
func (e end) check() error {
	if e.err != nil {
		return e.err
	}
	_, err := vm.ParseRecord(e.result.Record)
	return err
}

const requestTimeout = 30 * time.Second

// post asks for something that must succeed.
func (g *guest) post(path, body string) string {
	g.t.Helper()
	answer, err := g.request(g.t.Context(), path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	return answer
}

func (g *guest) request(ctx context.Context, path, body string) (string, error) {
	url := fmt.Sprintf("http://127.0.0.1:%d%s", controlPort, path)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(string(answer))
	}
	return string(answer), err
}
