//go:build e2e

package cloud

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ack-exporter/collector"
	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cloud/cloudtest"
	"ack-exporter/e2e/internal/world"
	"ack-exporter/internal/aliyun"
	"ack-exporter/internal/metadata/metadatatest"
)

const assumeRole = "sts:AssumeRoleWithOIDC"

// works is nil where the client gets an answer.
func works(t testing.TB, client *aliyun.Client) error {
	_, err := aliyun.LoadBalancers(t.Context(), client)
	return err
}

// mustWork waits until the client gets answers again: credentials are fetched every ten
// seconds at most.
func mustWork(t testing.TB, client *aliyun.Client) {
	t.Helper()
	world.Eventually(t, patience, func() error { return works(t, client) })
}

// mustBeRefused fails unless the client has no rights.
func mustBeRefused(t testing.TB, client *aliyun.Client) {
	t.Helper()
	if err := works(t, client); !errors.Is(err, collector.ErrForbidden) {
		t.Errorf("without credentials that are good: %v", err)
	}
}

// TestCredentials has credentials of each mode work, be lost and come back.
func TestCredentials(t *testing.T) {
	t.Parallel()
	sideBySide(t, map[string]func(*testing.T){
		"key": loseKey, "session": loseSession, "oidc": loseToken, "ecs-role": loseRole,
		"oidc renews in time": renewOIDC, "oidc and a broken STS": breakSTS, "ecs-role before it is there": lateRole,
	})
}

func loseKey(t *testing.T) {
	c, host := cloudtest.Start(t, cloud.Config{})
	client := newClient(t, c, host, withKey())
	mustWork(t, client)
	c.RemoveKey(cloudtest.Key().ID)
	mustBeRefused(t, client)
	other := cloudtest.Key()
	other.Secret = "another"
	c.SetKey(other)
	world.Eventually(t, patience, func() error {
		failed, ok := errors.AsType[*aliyun.Error](works(t, client))
		if !ok || failed.Code != "SignatureDoesNotMatch" || !errors.Is(failed, collector.ErrForbidden) {
			return fmt.Errorf("with another secret: %w", failed)
		}
		return nil
	})
	c.SetKey(cloudtest.Key())
	mustWork(t, client)
}

func loseSession(t *testing.T) {
	c, host := cloudtest.Start(t, cloud.Config{})
	session := cloud.Key{ID: "STS.a", Secret: "s", Token: "t", End: time.Now().Add(time.Hour)}
	c.SetKey(session)
	client := newClient(t, c, host, asking{mode: aliyun.Environment, environment: session.Environment(), timeout: patience})
	mustWork(t, client)
	c.ExpireSessions()
	mustBeRefused(t, client)
	if calls := c.Calls(); calls[len(calls)-1].Code != "InvalidSecurityToken.Expired" {
		t.Errorf("the last call: %+v", calls[len(calls)-1])
	}
	c.SetKey(session)
	mustWork(t, client)
}

// withToken asks with a token of a service account in a file.
func withToken(t testing.TB, host string) (a asking, write func(token string)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	write = func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(cloudtest.Token)
	return asking{mode: aliyun.OIDC, environment: cloudtest.Role().Environment(file, host), timeout: patience}, write
}

func loseToken(t *testing.T) {
	c, host := cloudtest.Start(t, cloud.Config{})
	a, write := withToken(t, host)
	client := newClient(t, c, host, a)
	mustWork(t, client)
	mustWork(t, client)
	if n := c.Count(assumeRole); n != 1 {
		t.Errorf("%d sessions for two calls", n)
	}
	c.ExpireSessions()
	c.SetTokens("another")
	mustBeRefused(t, client)
	write("another")
	mustWork(t, client)
}

func renewOIDC(t *testing.T) {
	c, host := cloudtest.Start(t, cloud.Config{})
	c.SetSessionDuration(20 * time.Second)
	a, _ := withToken(t, host)
	client := newClient(t, c, host, a)
	mustWork(t, client)
	world.Eventually(t, patience, func() error {
		if err := works(t, client); err != nil {
			t.Errorf("while sessions end one after the other: %v", err)
		}
		if n := c.Count(assumeRole); n < 4 {
			return fmt.Errorf("%d sessions", n)
		}
		return nil
	})
}

// breakSTS has STS fail in every way: most are not the same as having no rights.
func breakSTS(t *testing.T) {
	cases := map[string]func(*testing.T){}
	for kind, reason := range map[cloud.Kind]collector.Reason{
		cloud.Throttle: collector.ReasonThrottled, cloud.InternalError: collector.ReasonUnavailable, cloud.Unavailable: collector.ReasonUnavailable,
		cloud.Page: collector.ReasonUnavailable, cloud.Close: collector.ReasonUnavailable, cloud.Hang: collector.ReasonTimeout,
		cloud.Truncate: collector.ReasonUnavailable, cloud.Nonsense: collector.ReasonDecode,
		cloud.Deny: collector.ReasonForbidden, cloud.Skew: collector.ReasonForbidden,
	} {
		cases[kind.String()] = func(t *testing.T) {
			c, host := cloudtest.Start(t, cloud.Config{})
			a, _ := withToken(t, host)
			client := newClient(t, c, host, a)
			c.Fail(assumeRole, cloud.Fault{Kind: kind})
			if err := works(t, client); collector.ReasonOf(err) != reason {
				t.Errorf("reason %s, not %s: %v", collector.ReasonOf(err), reason, err)
			}
			c.Heal()
			mustWork(t, client)
		}
	}
	sideBySide(t, cases)
}

const roleName = "KubernetesWorkerRole"

// withMetadata asks with the role of an instance whose metadata service is hardened.
func withMetadata(t testing.TB) (asking, *metadatatest.Service) {
	t.Helper()
	service := metadatatest.New()
	service.Hardened = http.StatusForbidden
	address := cloudtest.Serve(t, service)
	return asking{mode: aliyun.ECSRole, metadata: "http://" + address, timeout: patience}, service
}

func loseRole(t *testing.T) {
	c, host := cloudtest.Start(t, cloud.Config{})
	a, service := withMetadata(t)
	service.SetRole(roleName, c.RoleCredentials)
	client := newClient(t, c, host, a)
	mustWork(t, client)
	if got, want := service.Requests(), "PUT:token GET:+token GET:"+roleName+"+token"; got != want {
		t.Errorf("it asked the metadata service %q, not %q", got, want)
	}
	c.ExpireSessions()
	service.RemoveRole(roleName)
	mustBeRefused(t, client)
	service.SetRole(roleName, c.RoleCredentials)
	mustWork(t, client)
}

func lateRole(t *testing.T) {
	c, host := cloudtest.Start(t, cloud.Config{})
	a, service := withMetadata(t)
	client := newClient(t, c, host, a)
	mustBeRefused(t, client)
	service.SetRole(roleName, func() string { return `{"Code":"Failed"}` })
	mustBeRefused(t, client)
	service.SetRole(roleName, c.RoleCredentials)
	mustWork(t, client)
}
