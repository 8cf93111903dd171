package main

import (
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"ack-exporter/internal/aliyun"
)

// openCloud makes what the flags and the environment ask for.
func openCloud(t *testing.T, environment map[string]string, flags ...string) (cloud, error) {
	t.Helper()
	app := kingpin.New(programName, "")
	cluster := addClusterCommand(app)
	if _, err := app.Parse(append([]string{"cluster"}, flags...)); err != nil {
		t.Fatal(err)
	}
	return cluster.cloud.open(func(name string) string { return environment[name] })
}

func TestCloudIsNotAskedUnlessTold(t *testing.T) {
	t.Parallel()
	key := map[string]string{"ALIBABA_CLOUD_ACCESS_KEY_ID": "id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"}
	if c, err := openCloud(t, key); c.api != nil || err != nil {
		t.Errorf("asked by default: %v", err)
	}
	c, err := openCloud(t, key, "--cloud.credentials=environment", "--cloud.region=cn-hangzhou")
	if c.api == nil || err != nil {
		t.Fatalf("not asked: %v", err)
	}
	c.close()
}

func TestCloudRegionOfTheEnvironment(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ALIBABA_CLOUD_REGION_ID", "ALIBABA_CLOUD_STS_REGION"} {
		c, err := openCloud(t, map[string]string{name: "cn-hangzhou"}, "--cloud.credentials=ecs-role")
		if err != nil || c.region != "cn-hangzhou" {
			t.Fatalf("%s: %q, %v", name, c.region, err)
		}
		c.close()
	}
}

// TestCloudFlags: what makes no sense is an error that names the flag, and says nothing
// of credentials.
func TestCloudFlags(t *testing.T) {
	t.Parallel()
	const secret = "much-hidden"
	key := map[string]string{"ALIBABA_CLOUD_ACCESS_KEY_ID": "id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": secret}
	for _, c := range []struct{ want, flags string }{
		{"--cloud.region: needed", "--cloud.credentials=environment"},
		{"--cloud: ", "--cloud.credentials=environment --cloud.region=https://evil/"},
		{"--cloud: ", "--cloud.credentials=environment --cloud.region=cn-x --cloud.endpoint=cs=127.0.0.1:1"},
		{"--cloud: ", "--cloud.credentials=environment --cloud.region=cn-x --cloud.endpoint=ecs=http://127.0.0.1"},
		{"--cloud.rate", "--cloud.credentials=environment --cloud.region=cn-x --cloud.rate=0"},
		{"--cloud.budget", "--cloud.credentials=environment --cloud.region=cn-x --cloud.budget=-1"},
		{"--cloud.timeout", "--cloud.credentials=environment --cloud.region=cn-x --cloud.timeout=0s"},
		{"ALIBABA_CLOUD_ROLE_ARN: not set", "--cloud.credentials=oidc --cloud.region=cn-x"},
		{"--cloud.credentials=ecs-role: ", "--cloud.credentials=ecs-role --cloud.region=cn-x --cloud.metadata-endpoint=nowhere"},
	} {
		_, err := openCloud(t, key, strings.Fields(c.flags)...)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", c.flags, err)
		}
	}
}

// TestCloudEndpoints: the products are those of the API.
func TestCloudEndpoints(t *testing.T) {
	t.Parallel()
	flags := []string{"--cloud.credentials=ecs-role", "--cloud.region=cn-x"}
	for _, p := range []aliyun.Product{aliyun.ECS, aliyun.SLB, aliyun.VPC, aliyun.Quotas} {
		flags = append(flags, "--cloud.endpoint="+string(p)+"=127.0.0.1:1")
	}
	c, err := openCloud(t, nil, flags...)
	if err != nil {
		t.Fatal(err)
	}
	c.close()
}
