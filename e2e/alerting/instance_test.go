//go:build e2e

package alerting

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/monitoring/monitoringtest"
	"ack-exporter/e2e/internal/world"
	"ack-exporter/internal/metadata/metadatatest"
)

// TestSpotNotice gives the node a metadata service, which takes hardened requests
// only, and announces there that the instance will be reclaimed.
func TestSpotNotice(t *testing.T) {
	t.Parallel()
	const address = "127.0.0.1:9779"
	w := healthyNode(t)
	service := metadatatest.New()
	service.Hardened = http.StatusForbidden
	serve(t, w, address, service)
	ready(t, w, exporter.Config{Args: []string{
		withoutKernelLog,
		"--collector.instance.metadata-endpoint=http://" + address, "--collector.instance.interval=1s",
	}})
	s := monitoringtest.New(t, w, monitoringtest.Options{
		Config:  "{}",
		Targets: []monitoringtest.Endpoint{monitoringtest.Target(firstAddress, firstNode, "pod-1")},
	})
	notice := monitoringtest.Alert{
		Name: "ACKSpotInterruptionNotice", Severity: monitoringtest.Warning, Node: firstNode,
		Description: `The spot instance of node node-a will be reclaimed at 2\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC\.`,
	}
	service.Set(metadatatest.Notice, time.Now().Add(5*time.Minute).UTC().Format(time.RFC3339))
	s.Fires(notice)
	service.Remove(metadatatest.Notice)
	s.Resolves(notice)
	s.Done()
}

// serve serves at an address of the world.
func serve(t *testing.T, w *world.World, address string, handler http.Handler) {
	t.Helper()
	var listener net.Listener
	err := w.Net(func() (err error) {
		listener, err = (&net.ListenConfig{}).Listen(context.WithoutCancel(t.Context()), "tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
}
