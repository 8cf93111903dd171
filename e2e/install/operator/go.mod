// The module whose CustomResourceDefinitions TestMonitors gives to the API server. No
// package of it is imported: `go mod tidy` would empty this file.
module ack-exporter/e2e/install/operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.94.0
