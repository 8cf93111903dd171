//go:build e2e

package monitoring

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Notification is what Alertmanager sends to a webhook.
type Notification struct {
	Receiver    string            `json:"receiver"`
	Status      string            `json:"status"`
	GroupLabels map[string]string `json:"groupLabels"`
	Alerts      []Alert           `json:"alerts"`
	// Path is the one of the URL to which it was sent.
	Path string `json:"-"`
}

// Alert is one alert of a notification.
type Alert struct {
	// Status is Firing or Resolved.
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Fingerprint string            `json:"fingerprint"`
	StartsAt    time.Time         `json:"startsAt"`
}

// States of an alert.
const (
	Firing   = "firing"
	Resolved = "resolved"
)

// maxNotification bounds what is read of a notification.
const maxNotification = 4 << 20

// Webhook receives notifications.
type Webhook struct {
	server *http.Server
	served chan error
}

// Receive calls notify for each notification that arrives, and Alertmanager
// waits until that returns.
func Receive(listener net.Listener, notify func(Notification)) *Webhook {
	h := &Webhook{served: make(chan error, 1)}
	h.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := Notification{Path: r.URL.Path}
			err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxNotification)).Decode(&n)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			notify(n)
		}),
	}
	go func() { h.served <- h.server.Serve(listener) }()
	return h
}

// Close ends it.
func (h *Webhook) Close() error {
	if err := h.server.Close(); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	if err := <-h.served; err != http.ErrServerClosed { //nolint:errorlint // Serve returns it as it is
		return fmt.Errorf("webhook: %w", err)
	}
	return nil
}
