//go:build e2e

package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cloud/cloudtest"
	"ack-exporter/e2e/internal/npm"
)

const nodeTimeout = 2 * time.Minute

func TestLockFile(t *testing.T) {
	t.Parallel()
	npm.CheckLockFile(t, "node")
}

// nodeCall is one call of the vendor's SDK, and of the pages that follow.
type nodeCall struct {
	Host       string         `json:"host"`
	ID         string         `json:"id"`
	Secret     string         `json:"secret"`
	Token      string         `json:"token"`
	Action     string         `json:"action"`
	Version    string         `json:"version"`
	Form       bool           `json:"form"`
	Parameters map[string]any `json:"parameters"`
}

// nodeOutcome is what came of it.
type nodeOutcome struct {
	Pages  []page
	Error  string
	Code   string
	Status int
	Action string
	// Request is the id of the request.
	Request string
}

// askWithNode makes calls with the vendor's SDK.
func askWithNode(t *testing.T, calls ...nodeCall) []nodeOutcome {
	t.Helper()
	packages := npm.Install(t, "cloud-packages", "node")
	input, err := json.Marshal(calls)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), nodeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "node/client.cjs")
	var output, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &output, &said
	// No proxy, no configuration of the user's.
	cmd.Env = []string{"NODE_PATH=" + filepath.Join(packages, "node_modules"), "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, said.Bytes())
	}
	var outcomes []nodeOutcome
	if err := json.Unmarshal(output.Bytes(), &outcomes); err != nil || len(outcomes) != len(calls) {
		t.Fatalf("%d outcomes of %d calls: %v\n%s", len(outcomes), len(calls), err, output.Bytes())
	}
	return outcomes
}

const (
	versionECS    = "2014-05-26"
	versionSLB    = "2014-05-15"
	versionQuotas = "2020-05-10"
)

// TestNodeSDK lists with the vendor's SDK for Node.js, which shares nothing with the
// simulation nor with the client of the exporter.
func TestNodeSDK(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{})
	fill(c)
	c.Fail("slb:DescribeServerCertificates", cloud.Fault{Kind: cloud.Throttle, For: time.Second})
	c.Fail("slb:DescribeVServerGroups", cloud.Fault{Kind: cloud.Unavailable})
	c.Forbid("slb:DescribeVServerGroupAttribute")
	session := cloud.Key{ID: "STS.n", Secret: "n", Token: "t+/=", End: time.Now().Add(time.Hour)}
	c.SetKey(session)
	call := func(action, version string, p map[string]any) nodeCall {
		return nodeCall{Host: host, ID: cloudtest.Key().ID, Secret: cloudtest.Key().Secret, Action: action, Version: version, Parameters: p}
	}
	region := func(p map[string]any) map[string]any {
		p["RegionId"] = c.Region()
		return p
	}
	ids, err := json.Marshal(names("i-%03d", 60))
	if err != nil {
		t.Fatal(err)
	}
	quotas := call("ListProductQuotas", versionQuotas, map[string]any{"ProductCode": "slb", "MaxResults": 100})
	quotas.Form = true
	dimensions := call("ListProductQuotas", versionQuotas, map[string]any{
		"ProductCode": "slb", "Dimensions": []map[string]string{{"Key": "regionId", "Value": c.Region()}},
	})
	dimensions.Form = true
	wrong := call("DescribeLoadBalancers", versionSLB, region(map[string]any{}))
	wrong.Secret = "wrong"
	unknown := wrong
	unknown.ID = "LTAIunknown"
	temporary := call("DescribeLoadBalancers", versionSLB, region(map[string]any{"Tag": []map[string]string{{"Key": "k", "Value": "v"}}, "PageNumber": 1, "PageSize": 100}))
	temporary.ID, temporary.Secret, temporary.Token = session.ID, session.Secret, session.Token
	one := region(map[string]any{"LoadBalancerId": crowded})

	tests := []struct {
		name        string
		call        nodeCall
		pages, rows int
		error, code string
		status      int
	}{
		{"instances", call("DescribeInstances", versionECS, region(map[string]any{"MaxResults": 100})), 3, rows, "", "", 0},
		{"instances by id", call("DescribeInstances", versionECS, region(map[string]any{"InstanceIds": string(ids), "MaxResults": 50})), 2, 60, "", "", 0},
		{"load balancers", call("DescribeLoadBalancers", versionSLB, region(map[string]any{"PageNumber": 1, "PageSize": 100})), 3, rows, "", "", 0},
		{"listeners", call("DescribeLoadBalancerListeners", versionSLB, region(map[string]any{"LoadBalancerId": names("lb-%03d", 10), "MaxResults": 100})), 3, rows, "", "", 0},
		{"quotas", quotas, 3, rows + 1, "", "", 0},
		{"quotas of a region", dimensions, 1, 1, "", "", 0},
		{"a session", temporary, 3, rows, "", "", 0},
		{"wrong secret", wrong, 0, 0, "ClientError", "SignatureDoesNotMatch", 400},
		{"unknown key", unknown, 0, 0, "ClientError", "InvalidAccessKeyId.NotFound", 404},
		{"throttled", call("DescribeServerCertificates", versionSLB, region(map[string]any{})), 0, 0, "ThrottlingError", "Throttling.User", 400},
		{"unavailable", call("DescribeVServerGroups", versionSLB, one), 0, 0, "ServerError", "ServiceUnavailable", 503},
		{"no right", call("DescribeVServerGroupAttribute", versionSLB, region(map[string]any{"VServerGroupId": groupID})), 0, 0, "ClientError", "Forbidden.RAM", 403},
		{"misspelt", call("DescribeLoadBalancers", versionSLB, region(map[string]any{"Pagesize": 1})), 0, 0, "ClientError", "InvalidParameter", 400},
	}
	calls := make([]nodeCall, 0, len(tests))
	for _, test := range tests {
		calls = append(calls, test.call)
	}
	for i, got := range askWithNode(t, calls...) {
		test, sum := tests[i], 0
		for _, p := range got.Pages {
			sum += p.rows()
		}
		if len(got.Pages) != test.pages || sum != test.rows || got.Error != test.error || got.Code != test.code || got.Status != test.status {
			t.Errorf("%s: %d rows on %d pages, error %q, code %q, status %d", test.name, sum, len(got.Pages), got.Error, got.Code, got.Status)
		}
		if test.code == "Forbidden.RAM" && got.Action != "slb:DescribeVServerGroupAttribute" {
			t.Errorf("the right that is missing is %q", got.Action)
		}
		if test.error != "" && got.Request == "" {
			t.Errorf("%s: the error has no id of the request", test.name)
		}
	}
}
