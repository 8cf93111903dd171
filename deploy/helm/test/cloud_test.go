package test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

const (
	rrsaRole     = "acs:ram::1234567890123456:role/ack-exporter"
	rrsaProvider = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c0123456789abcdef"
	rrsaFolder   = "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens"
)

// cloudPod is the pod of the cluster role with values of cluster.cloud, and its service account.
func cloudPod(t *testing.T, cloud string) (podTemplate, *corev1.ServiceAccount) {
	t.Helper()
	objects := render(t, namespace, imageOnly+"cluster: {cloud: {"+cloud+"}}\n")
	pod := podTemplate{pod: &only[*appsv1.Deployment](t, objects, "ack-exporter-cluster").Spec.Template}
	return pod, only[*corev1.ServiceAccount](t, objects, "ack-exporter-cluster")
}

// cloudFlags are what a command line says of the cloud, without their common beginning.
func cloudFlags(w podTemplate) []string {
	var flags []string
	for _, arg := range w.container().Args {
		if flag, ok := strings.CutPrefix(arg, "--cloud."); ok {
			flags = append(flags, flag)
		}
	}
	return flags
}

func TestCloudIsNotAsked(t *testing.T) {
	t.Parallel()
	w, account := cloudPod(t, "")
	if flags := cloudFlags(w); len(flags) > 0 || w.container().Env != nil || w.pod.Spec.Volumes != nil || account.Annotations != nil {
		t.Errorf("flags %v, environment %v, volumes %v, annotations %v", flags, w.container().Env, w.pod.Spec.Volumes, account.Annotations)
	}
}

// With the webhook, the annotation is all that there is to it.
func TestCloudByWebhook(t *testing.T) {
	t.Parallel()
	w, account := cloudPod(t, "credentials: oidc, rrsaRoleName: ack-exporter")
	if role := account.Annotations["pod-identity.alibabacloud.com/role-name"]; role != "ack-exporter" {
		t.Errorf("annotations %v", account.Annotations)
	}
	want := []string{"credentials=oidc", "network=vpc", "rate=2", "budget=240", "timeout=10s"}
	if flags := cloudFlags(w); !slices.Equal(flags, want) {
		t.Errorf("flags %v, want %v", flags, want)
	}
	if w.container().Env != nil || w.pod.Spec.Volumes != nil {
		t.Errorf("environment %v, volumes %v: that is the webhook's", w.container().Env, w.pod.Spec.Volumes)
	}
}

// Without the webhook, the chart does what it would do.
func TestCloudByToken(t *testing.T) {
	t.Parallel()
	w, account := cloudPod(t, "credentials: oidc, region: cn-hangzhou, clusterID: c0, rrsaRoleARN: '"+rrsaRole+"', rrsaProviderARN: '"+rrsaProvider+"'")
	if account.Annotations != nil {
		t.Errorf("annotations %v", account.Annotations)
	}
	wantEnv := []corev1.EnvVar{
		{Name: "ALIBABA_CLOUD_ROLE_ARN", Value: rrsaRole},
		{Name: "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", Value: rrsaProvider},
		{Name: "ALIBABA_CLOUD_OIDC_TOKEN_FILE", Value: rrsaFolder + "/token"},
	}
	if !reflect.DeepEqual(w.container().Env, wantEnv) {
		t.Errorf("environment %v, want %v", w.container().Env, wantEnv)
	}
	if !slices.Contains(cloudFlags(w), "region=cn-hangzhou") || !slices.Contains(cloudFlags(w), "cluster-id=c0") {
		t.Errorf("flags %v", cloudFlags(w))
	}
	if m := w.container().VolumeMounts; len(m) != 1 || m[0].MountPath != rrsaFolder || !m[0].ReadOnly {
		t.Errorf("mounts %v", m)
	}
	token := w.pod.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken
	if token.Audience != "sts.aliyuncs.com" || token.Path != "token" || *token.ExpirationSeconds != 3600 {
		t.Errorf("token %v", token)
	}
}

// Keys stay in their Secret; only a session has a token.
func TestCloudBySecret(t *testing.T) {
	t.Parallel()
	w, _ := cloudPod(t, "credentials: environment, region: cn-hangzhou, secret: keys")
	optional := make(map[string]bool)
	for _, e := range w.container().Env {
		ref := e.ValueFrom.SecretKeyRef
		if e.Value != "" || ref.Name != "keys" || ref.Key != e.Name {
			t.Errorf("%v", e)
		}
		optional[e.Name] = ref.Optional != nil && *ref.Optional
	}
	want := map[string]bool{"ALIBABA_CLOUD_ACCESS_KEY_ID": false, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": false, "ALIBABA_CLOUD_SECURITY_TOKEN": true}
	if !reflect.DeepEqual(optional, want) {
		t.Errorf("environment %v", w.container().Env)
	}
}

// The chart's defaults are those of the program.
func TestCloudDefaults(t *testing.T) {
	t.Parallel()
	help, err := exporter(t, "cluster", "--help")
	if err != nil {
		t.Fatal(err)
	}
	cloud := loadChart(t).Values["cluster"].(map[string]any)["cloud"].(map[string]any)
	for name, flag := range map[string]string{
		"credentials": "credentials", "network": "network", "rate": "rate", "budget": "budget", "timeout": "timeout",
	} {
		value := strings.Trim(fmt.Sprint(cloud[name]), `"`)
		if !strings.Contains(help, "--cloud."+flag+"="+value+" ") && !strings.Contains(help, "--cloud."+flag+"="+value+"\n") {
			t.Errorf("%s=%s is not the default of --cloud.%s", name, value, flag)
		}
	}
}
