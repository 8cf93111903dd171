//go:build e2e

// Command demo shows the way from trouble on a node to the person who is told,
// with real parts on the kernel of this machine: the exporter, Prometheus with
// the rules of the mixin, Alertmanager with the example configuration, and a
// webhook that prints what arrives.
//
// The node is a network and process namespace of its own, in which things go
// wrong without harm. Where etcd, kube-apiserver and CoreDNS have been built, there
// is a cluster in such namespaces too, and a simulation of the cloud that it is in.
// Nothing is left behind when it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"ack-exporter/e2e/internal/sandbox"
)

func main() {
	if played, err := sandbox.Play(nil); played {
		exit(err)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// A second interrupt ends the program at once, and with it everything else.
	context.AfterFunc(ctx, stop)
	exit(run(ctx, os.Args[1:], os.Stdout))
}

func exit(err error) {
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "demo: %v\n", err)
	os.Exit(1) //nolint:forbidigo // this is where the exit status goes
}

// run is the program. An interrupt is its usual end.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	install := flags.Bool("install", false, "install packages of Debian that are missing")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("it makes network namespaces of its own, and that needs root: sudo make demo")
	}
	d := newDemo(out)
	err := d.play(ctx, *install)
	if ctx.Err() != nil {
		err = nil // whatever broke off, the interrupt is why
	}
	return errors.Join(err, d.end())
}
