// Package kube is how the cluster role reads the Kubernetes API: it connects,
// elects one leader among the replicas, and keeps trimmed copies of just the
// objects that are used.
package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"ack-exporter/collector"
)

const (
	// Requests a second that one replica may make, and how many at once after a
	// pause. Watches count when they begin.
	qps   = 20
	burst = 40
)

// Config says how to reach the API server: as the kubeconfig says, or where that
// is empty as the service account of the pod. userAgent is who the API server's
// audit log will see.
func Config(kubeconfig, userAgent string) (*rest.Config, error) {
	config, err := load(kubeconfig)
	if err != nil {
		return nil, err
	}
	config.UserAgent = userAgent
	config.QPS, config.Burst = qps, burst
	// The binary format costs the API server and us a fraction of JSON.
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	return config, nil
}

func load(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("not in a pod, and no kubeconfig: %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", kubeconfig, err)
	}
	return config, nil
}

// Classify marks an error of the API with the reason by which collectors count it.
func Classify(err error) error {
	for _, c := range []struct {
		is     func(error) bool
		reason error
	}{
		{apierrors.IsForbidden, collector.ErrForbidden},
		{apierrors.IsUnauthorized, collector.ErrForbidden},
		{apierrors.IsTooManyRequests, collector.ErrThrottled},
		{apierrors.IsTimeout, context.DeadlineExceeded},
		{apierrors.IsServerTimeout, context.DeadlineExceeded},
		{apierrors.IsServiceUnavailable, collector.ErrUnavailable},
		{apierrors.IsInternalError, collector.ErrUnavailable},
		{apierrors.IsNotFound, collector.ErrUnavailable},
		{apierrors.IsResourceExpired, collector.ErrUnavailable},
		{apierrors.IsGone, collector.ErrUnavailable},
	} {
		if c.is(err) {
			return fmt.Errorf("%w: %w", c.reason, err)
		}
	}
	return err
}
