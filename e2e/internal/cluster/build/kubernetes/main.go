// Command kubernetes is every program of Kubernetes that the tests run, in one
// binary: what they share is compiled and linked once. The name under which it
// is started says which one it is.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// programs has a line for each program. The harness links the binary to each
// name, so a new line here needs one there.
var programs = map[string]func() *cobra.Command{
	"kube-apiserver": apiserver.NewAPIServerCommand,
}

func main() {
	program, ok := programs[filepath.Base(os.Args[0])]
	if !ok {
		fmt.Fprintf(os.Stderr, "%s: no such program\n", os.Args[0])
		os.Exit(2)
	}
	os.Exit(cli.Run(program()))
}
