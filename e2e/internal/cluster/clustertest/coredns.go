//go:build e2e

package clustertest

import (
	"testing"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/world"
)

// CoreDNS is a CoreDNS in a world of its own.
type CoreDNS struct {
	*cluster.CoreDNS
	// World is the pod, Link its connection.
	World *world.World
	Link  *Link
}

// CoreDNS starts a CoreDNS and waits until it listens.
func (c *Cluster) CoreDNS(t testing.TB, options cluster.CoreDNSOptions) *CoreDNS {
	t.Helper()
	w := world.New(t)
	d, err := c.Cluster.CoreDNS(t.Context(), w.Sandbox, options)
	must(t, err)
	atEnd(t, d)
	return &CoreDNS{d, w, &Link{d.Link}}
}

// Start starts CoreDNS again, after Stop or Kill.
func (d *CoreDNS) Start(t testing.TB) {
	t.Helper()
	must(t, d.CoreDNS.Start(t.Context()))
}

// Stop stops CoreDNS as a kubelet does.
func (d *CoreDNS) Stop(t testing.TB) {
	t.Helper()
	must(t, d.CoreDNS.Stop())
}

// Terminate only asks it to stop.
func (d *CoreDNS) Terminate(t testing.TB) {
	t.Helper()
	must(t, d.CoreDNS.Terminate())
}

// Kill ends CoreDNS as a crash would.
func (d *CoreDNS) Kill(t testing.TB) {
	t.Helper()
	must(t, d.CoreDNS.Kill())
}

// Pause keeps CoreDNS from answering.
func (d *CoreDNS) Pause(t testing.TB) {
	t.Helper()
	must(t, d.CoreDNS.Pause())
}

// Resume is the end of Pause.
func (d *CoreDNS) Resume(t testing.TB) {
	t.Helper()
	must(t, d.CoreDNS.Resume())
}

// SetCorefile changes the Corefile.
func (d *CoreDNS) SetCorefile(t testing.TB, corefile string) {
	t.Helper()
	must(t, d.CoreDNS.SetCorefile(corefile))
}

// Reload changes the Corefile and has CoreDNS load it now.
func (d *CoreDNS) Reload(t testing.TB, corefile string) {
	t.Helper()
	must(t, d.CoreDNS.Reload(corefile))
}
