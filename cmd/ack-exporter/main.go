// Command ack-exporter exposes what breaks silently on the user's side of an
// Alibaba Cloud ACK cluster as Prometheus metrics.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	"github.com/prometheus/common/version"
	sloggokit "github.com/tjhop/slog-gokit"
)

const (
	programName = "ack-exporter"
	// metricsNamespace is how the names of metrics about the exporter begin.
	metricsNamespace = "ack_exporter"
)

// role is a command that serves metrics until ctx ends.
type role func(ctx context.Context, log *slog.Logger, web *webFlags) error

// task is a command that prints its answer and ends. Unlike a role it logs nothing.
type task func(ctx context.Context, stdout io.Writer) error

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status) //nolint:forbidigo // main is where the exit status goes
}

// run is the program: it returns the exit status, 0 or 1.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := kingpin.New(programName, "Prometheus exporter for the data plane of Alibaba Cloud ACK clusters.")
	app.UsageWriter(stdout)
	app.ErrorWriter(stderr)
	app.HelpFlag.Short('h')
	app.Version(version.Print(programName))

	logConfig := &promslog.Config{}
	promslogflag.AddFlags(app, logConfig)
	web := addWebFlags(app)
	roles := map[string]role{"node": addNodeCommand(app).run, "cluster": addClusterCommand(app).run}
	tasks := make(map[string]task)
	addRulesCommands(app, tasks)
	addDashboardsCommand(app, tasks)

	if len(args) == 0 {
		fmt.Fprintf(stderr, "%s: no command; try --help\n", programName)
		return 1
	}
	command, answered, err := parse(app, args)
	if answered {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v; try --help\n", programName, err)
		return 1
	}

	if do, ok := tasks[command]; ok {
		if err := do(ctx, stdout); err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", programName, err)
			return 1
		}
		return 0
	}

	logger := newLogger(logConfig, stderr)
	logger.Info("starting", "command", command, "version", version.Info(), "build", version.BuildContext())
	if err := roles[command](ctx, logger, web); err != nil {
		logger.Error("cannot go on", "err", err)
		return 1
	}
	logger.Info("stopped")
	return 0
}

// parse reads args. answered: they were --help or --version, which is done.
// kingpin ends the process there, and goes on where it may not; so it is left by
// a panic.
func parse(app *kingpin.Application, args []string) (command string, answered bool, err error) {
	type done struct{}
	defer func() {
		if p := recover(); p == (done{}) {
			answered = true
		} else if p != nil {
			panic(p)
		}
	}()
	app.Terminate(func(int) { panic(done{}) })
	command, err = app.Parse(args)
	return command, false, err
}

// newLogger makes the one logger of the process: slog in front, go-kit as sink.
func newLogger(config *promslog.Config, w io.Writer) *slog.Logger {
	sink := log.NewLogfmtLogger(log.NewSyncWriter(w))
	if config.Format != nil && config.Format.String() == "json" {
		sink = log.NewJSONLogger(log.NewSyncWriter(w))
	}
	return slog.New(sloggokit.NewGoKitHandler(sink, config.Level))
}
