// Package server is the HTTP side of the exporter: metrics, landing page,
// health, runbooks, and a stop that cuts no answer in two.
package server

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"

	"ack-exporter/collector"
)

const (
	healthPath = "/healthz"
	readyPath  = "/readyz"

	// stopTimeout is how long answers that have begun may take after a stop
	// was asked for. Kubernetes kills a pod after 30 s by default.
	stopTimeout = 5 * time.Second
	// A client that sends its request slower than this is no scraper.
	readTimeout = 10 * time.Second
	// writeTimeout ends answers to clients that do not read them.
	writeTimeout = time.Minute
)

// Options says what to serve.
type Options struct {
	// MetricsPath is where the metrics are, as in "/metrics".
	MetricsPath string
	// MaxRequests is how many scrapes may be in flight; 0 sets no limit.
	MaxRequests int
	// Description stands on the landing page.
	Description string

	Registry *prometheus.Registry
	// Pending lists what the exporter still waits for before it is ready.
	Pending func() []collector.Pending
	// Runbooks are Markdown files that are served as pages under /runbooks/; nil
	// serves none. README.md introduces them.
	Runbooks fs.FS
	Log      *slog.Logger
}

// NewHandler routes the metrics, the landing page, /healthz, /readyz and
// /runbooks/.
func NewHandler(o Options) (http.Handler, error) {
	if !strings.HasPrefix(o.MetricsPath, "/") {
		return nil, fmt.Errorf("the telemetry path %q does not begin with a slash", o.MetricsPath)
	}
	if strings.ContainsAny(o.MetricsPath, "{} \t") {
		return nil, fmt.Errorf("the telemetry path %q has a brace or a space", o.MetricsPath)
	}
	if o.takes(o.MetricsPath) {
		return nil, fmt.Errorf("the telemetry path %s is taken", o.MetricsPath)
	}
	mux := http.NewServeMux()
	mux.Handle(o.MetricsPath, metricsHandler(o))
	mux.HandleFunc(healthPath, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc(readyPath, func(w http.ResponseWriter, _ *http.Request) { serveReady(w, o.Pending()) })
	if o.Runbooks != nil {
		mux.Handle(runbooksPath, runbooks{o.Runbooks})
	}
	if o.MetricsPath == "/" {
		return mux, nil
	}
	landing, err := landingPage(o)
	if err != nil {
		return nil, fmt.Errorf("landing page: %w", err)
	}
	mux.Handle("/", landing)
	return mux, nil
}

// takes tells whether something else than the metrics is at this path.
func (o Options) takes(path string) bool {
	return path == healthPath || path == readyPath || o.Runbooks != nil && strings.HasPrefix(path+"/", runbooksPath)
}

func landingPage(o Options) (http.Handler, error) {
	links := []web.LandingLinks{
		{Address: html.EscapeString(strings.TrimPrefix(o.MetricsPath, "/")), Text: "Metrics"},
		{Address: strings.TrimPrefix(readyPath, "/"), Text: "Readiness", Description: "which collectors have not succeeded yet"},
		{Address: strings.TrimPrefix(healthPath, "/"), Text: "Health"},
	}
	if o.Runbooks != nil {
		links = append(links, web.LandingLinks{
			Address: strings.TrimPrefix(runbooksPath, "/"), Text: "Runbooks", Description: "what to do about each alert",
		})
	}
	return web.NewLandingPage(web.LandingConfig{
		Name:        "ack-exporter",
		Description: o.Description,
		Version:     version.Info(),
		Profiling:   "false",
		Links:       links,
	})
}

func metricsHandler(o Options) http.Handler {
	return promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelError),
		// One bad series must not take all others with it.
		ErrorHandling:       promhttp.ContinueOnError,
		Registry:            o.Registry,
		MaxRequestsInFlight: o.MaxRequests,
		CoalesceGather:      true,
		EnableOpenMetrics:   true,
	})
}

func serveReady(w http.ResponseWriter, pending []collector.Pending) {
	if len(pending) == 0 {
		fmt.Fprintln(w, "ready")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	for _, p := range pending {
		if p.Err == nil {
			fmt.Fprintf(w, "%s: no refresh has ended yet\n", p.Name)
			continue
		}
		fmt.Fprintf(w, "%s: %s\n", p.Name, collector.ReasonOf(p.Err))
	}
}

// Serve answers requests until ctx ends, then finishes the answers that have
// begun. It returns nil after such a stop, and an error where it cannot listen.
func Serve(ctx context.Context, handler http.Handler, flags *web.FlagConfig, log *slog.Logger) error {
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- web.ListenAndServe(srv, flags, log) }()

	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping; open answers are finished first", "timeout", stopTimeout)
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := srv.Shutdown(stopCtx); err != nil {
		return fmt.Errorf("answers still open after %s: %w", stopTimeout, err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
