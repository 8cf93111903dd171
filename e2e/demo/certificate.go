//go:build e2e

package main

import (
	"context"
	"time"

	"ack-exporter/e2e/internal/cluster/pki"
	"ack-exporter/e2e/internal/monitoring"
)

// certificate lets the certificate of the API server grow old: the node is a master
// of a dedicated cluster, where people renew it.
func (d *demo) certificate(ctx context.Context) error {
	const (
		file            = "/etc/kubernetes/pki/apiserver.crt"
		severity, alert = "critical", "ACKCertificateExpiresSoon"
		day             = 24 * time.Hour
	)
	authority, err := pki.NewAuthority(pki.Template{CommonName: "kubernetes", NotAfter: time.Now().Add(3650 * day)})
	if err != nil {
		return err
	}
	for _, step := range []struct {
		what   string
		left   time.Duration
		status string
	}{
		{"WRONG    the certificate of the API server on the node expires tomorrow, and nobody has renewed it", day, monitoring.Firing},
		{"MENDED   the certificate is renewed", 365 * day, monitoring.Resolved},
	} {
		pair, err := authority.Server(pki.Template{CommonName: "kube-apiserver"}.ExpiringIn(step.left))
		if err != nil {
			return err
		}
		d.say("%s", step.what)
		if err := d.root.Write(file, pair.Chain); err != nil {
			return err
		}
		if err := d.await(ctx, event{step.status, severity, alert}); err != nil {
			return err
		}
	}
	return nil
}
