//go:build e2e

// Package cloudtest serves simulated clouds in tests: they end with the test.
package cloudtest

import (
	"context"
	"net"
	"net/http"
	"os"
	"testing"

	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/world"
)

// PolicyFile is the RAM policy that the project ships, for tests two folders below
// its root.
const PolicyFile = "../../docs/ram-policy.json"

// Key is the access key of a cloud whose Config has none.
func Key() cloud.Key { return cloud.Key{ID: "LTAI5tSimulated", Secret: "simulated-secret"} }

// Role is the role of a cloud whose Config has none. Its token is Token.
func Role() cloud.Role {
	return cloud.Role{
		ARN:         "acs:ram::1000000000000000:role/ack-exporter",
		ProviderARN: "acs:ram::1000000000000000:oidc-provider/ack-rrsa-c1",
		Tokens:      []string{Token},
	}
}

// Token is a token of the exporter's service account.
const Token = "simulated.service-account.token"

// New makes a cloud. Its policy, key and role are those of this package where the
// Config has none.
func New(t testing.TB, config cloud.Config) *cloud.Cloud {
	t.Helper()
	if config.Policy == nil {
		policy, err := os.ReadFile(PolicyFile)
		if err != nil {
			t.Fatal(err)
		}
		config.Policy = policy
	}
	if config.Keys == nil {
		config.Keys = []cloud.Key{Key()}
	}
	if config.Role.ARN == "" {
		config.Role = Role()
	}
	c, err := cloud.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Start makes a cloud and serves it on a port of loopback.
func Start(t testing.TB, config cloud.Config) (c *cloud.Cloud, host string) {
	t.Helper()
	c = New(t, config)
	return c, Serve(t, c)
}

// StartIn makes a cloud and serves it at an address of a world.
func StartIn(t testing.TB, w *world.World, address string, config cloud.Config) *cloud.Cloud {
	t.Helper()
	c := New(t, config)
	ServeIn(t, w, address, c)
	return c
}

// Serve serves on a port of loopback.
func Serve(t testing.TB, handler http.Handler) (host string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(context.WithoutCancel(t.Context()), "tcp4", "127.0.0.1:0")
	serve(t, listener, err, handler)
	return listener.Addr().String()
}

// ServeIn serves at an address of a world, such as 127.0.0.1:9779.
func ServeIn(t testing.TB, w *world.World, address string, handler http.Handler) {
	t.Helper()
	listener, err := w.Listen(context.WithoutCancel(t.Context()), address)
	serve(t, listener, err, handler)
}

func serve(t testing.TB, listener net.Listener, err error, handler http.Handler) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	stop := cloud.Serve(listener, handler)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stop serving: %v", err)
		}
	})
}
