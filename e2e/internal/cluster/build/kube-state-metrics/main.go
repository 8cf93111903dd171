// Command kube-state-metrics is kube-state-metrics, which the benchmarks compare the
// cluster role with.
package main

import (
	"context"
	"fmt"
	"os"

	"k8s.io/kube-state-metrics/v2/pkg/app"
	"k8s.io/kube-state-metrics/v2/pkg/options"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	o := options.NewOptions()
	o.AddFlags(options.InitCommand)
	if err := o.Parse(); err != nil {
		return err
	}
	return app.RunKubeStateMetrics(ctx, o)
}
