package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"ack-exporter/collector"
	"ack-exporter/docs/runbooks"
	"ack-exporter/internal/server"
)

// webFlags are the flags of the HTTP server, which all roles share.
type webFlags struct {
	toolkit       *web.FlagConfig
	telemetryPath string
	maxRequests   int
}

func addWebFlags(app *kingpin.Application) *webFlags {
	w := &webFlags{toolkit: kingpinflag.AddFlags(app, ":9777")}
	app.Flag("web.telemetry-path", "Path under which the metrics are.").Default("/metrics").StringVar(&w.telemetryPath)
	app.Flag("web.max-requests", "Scrapes that may be in flight; 0 sets no limit.").Default("10").IntVar(&w.maxRequests)
	return w
}

// serve runs the collectors and answers scrapes until ctx ends. The collectors
// stop after the last answer.
func (w *webFlags) serve(ctx context.Context, log *slog.Logger, set *collector.Set) error {
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		set,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector(metricsNamespace),
	} {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	handler, err := server.NewHandler(server.Options{
		MetricsPath: w.telemetryPath,
		MaxRequests: w.maxRequests,
		Description: "What breaks silently on the user's side of an Alibaba Cloud ACK cluster.",
		Registry:    registry,
		Pending:     set.Pending,
		Runbooks:    runbooks.Pages(),
		Log:         log,
	})
	if err != nil {
		return err
	}
	runCtx, stopCollectors := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { set.Run(runCtx) })
	defer running.Wait()
	defer stopCollectors()
	return server.Serve(ctx, handler, w.toolkit, log)
}
