{{- define "ack-exporter.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a role. It may never change: selectors are immutable. */}}
{{- define "ack-exporter.selector" -}}
app.kubernetes.io/name: ack-exporter
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "ack-exporter.labels" -}}
app.kubernetes.io/name: ack-exporter
{{- with get . "role" }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Annotations and labels of the pods of a role. */}}
{{- define "ack-exporter.podMetadata" -}}
{{- $values := index .root.Values .role -}}
{{- $annotations := $values.podAnnotations -}}
{{- range $name, $_ := $annotations }}
{{- if hasPrefix "prometheus.io/" $name }}
{{- fail (printf "%s.podAnnotations: %s: set %s.scrape to annotations instead, so that nothing is scraped twice" $.role $name $.role) }}
{{- end }}
{{- end }}
{{- if eq $values.scrape "annotations" }}
{{- if .root.Values.web.configSecret }}
{{- fail (printf "%s.scrape: annotations cannot tell how to use what web.configSecret asks for; use podMonitor or serviceMonitor" .role) }}
{{- end }}
{{- $annotations = merge (dict "prometheus.io/scrape" "true" "prometheus.io/port" (toString .root.Values.web.port) "prometheus.io/path" "/metrics") $annotations }}
{{- end }}
labels:
  {{- /* Nothing that changes with the chart alone: it would start all pods anew. */}}
  {{- $labels := include "ack-exporter.selector" . | fromYaml }}
  {{- merge $labels (dict "app.kubernetes.io/instance" .root.Release.Name) $values.podLabels | toYaml | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What both roles have in their pods. */}}
{{- define "ack-exporter.pod" -}}
{{- $values := index .root.Values .role -}}
terminationGracePeriodSeconds: 10
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
enableServiceLinks: false
nodeSelector:
  {{- merge (dict "kubernetes.io/os" "linux") $values.nodeSelector | toYaml | nindent 2 }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
      - matchExpressions:
        # Virtual nodes stand for container instances and are no machines.
        - {key: type, operator: NotIn, values: [virtual-kubelet]}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Flags of both roles; collectors: switches by name. */}}
{{- define "ack-exporter.args" -}}
- {{ .role }}
- --log.level={{ .root.Values.log.level }}
- --log.format={{ .root.Values.log.format }}
- --web.listen-address=:{{ .root.Values.web.port }}
{{- if .root.Values.web.configSecret }}
- --web.config.file=/etc/ack-exporter/web/web.yml
{{- end }}
{{- range $name, $on := .collectors }}
- --{{ if not $on }}no-{{ end }}collector.{{ $name }}
{{- end }}
{{- end -}}

{{/* What both roles have in their container; readinessPath: what says that it is ready. */}}
{{- define "ack-exporter.container" -}}
{{- $web := .root.Values.web -}}
name: ack-exporter
image: {{ include "ack-exporter.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
ports:
- name: metrics
  containerPort: {{ $web.port }}
livenessProbe:
  {{- include "ack-exporter.probe" (dict "web" $web "path" "/healthz") | nindent 2 }}
  periodSeconds: 20
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  {{- include "ack-exporter.probe" (dict "web" $web "path" .readinessPath) | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 5
resources:
  {{- index .root.Values .role "resources" | toYaml | nindent 2 }}
{{- end -}}

{{/* With web.configSecret every path may need TLS and a password, which a kubelet does not have. */}}
{{- define "ack-exporter.probe" -}}
{{- if .web.configSecret -}}
tcpSocket:
  port: metrics
{{- else -}}
httpGet:
  path: {{ .path }}
  port: metrics
{{- end -}}
{{- end -}}

{{- define "ack-exporter.webMount" -}}
- {name: web, mountPath: /etc/ack-exporter/web, readOnly: true}
{{- end -}}

{{- define "ack-exporter.webVolume" -}}
- name: web
  secret:
    secretName: {{ .Values.web.configSecret }}
    # The group of the pod may read it, which an ordinary user needs.
    defaultMode: 0440
{{- end -}}

{{/* One endpoint of a PodMonitor or ServiceMonitor. */}}
{{- define "ack-exporter.endpoint" -}}
port: metrics
path: /metrics
{{- with .Values.monitor.interval }}
interval: {{ . }}
{{- end }}
# Series of the cluster role say by labels of their own which node or pod they are about.
honorLabels: true
relabelings:
- sourceLabels: [__meta_kubernetes_pod_node_name]
  targetLabel: node
{{- with .Values.monitor.relabelings }}
{{ toYaml . }}
{{- end }}
{{- with .Values.monitor.endpoint }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Nothing where cluster.cloud makes sense; else it fails. */}}
{{- define "ack-exporter.cloudCheck" -}}
{{- $cloud := .Values.cluster.cloud -}}
{{- $oidc := eq $cloud.credentials "oidc" -}}
{{- $environment := eq $cloud.credentials "environment" -}}
{{- $byWebhook := not (empty $cloud.rrsaRoleName) -}}
{{- $byToken := or $cloud.rrsaRoleARN $cloud.rrsaProviderARN -}}
{{- if and $oidc (not $byWebhook) (not (and $cloud.rrsaRoleARN $cloud.rrsaProviderARN)) }}
{{- fail "cluster.cloud.credentials: oidc needs rrsaRoleName, or rrsaRoleARN and rrsaProviderARN" }}
{{- end }}
{{- if and $byWebhook $byToken }}
{{- fail "cluster.cloud.rrsaRoleName: the webhook says what rrsaRoleARN and rrsaProviderARN say; set one or the other" }}
{{- end }}
{{- if and (not $oidc) (or $byWebhook $byToken) }}
{{- fail "cluster.cloud.credentials: a role of RRSA is of no use without oidc" }}
{{- end }}
{{- if ne $environment (not (empty $cloud.secret)) }}
{{- fail "cluster.cloud.secret: goes with credentials environment, which needs it" }}
{{- end }}
{{- if and (ne $cloud.credentials "none") (not $cloud.region) (not $byWebhook) }}
{{- fail "cluster.cloud.region: needed" }}
{{- end }}
{{- end -}}

{{/* Flags for the API of the cloud. */}}
{{- define "ack-exporter.cloudArgs" -}}
{{- $cloud := .Values.cluster.cloud -}}
{{- if ne $cloud.credentials "none" -}}
- --cloud.credentials={{ $cloud.credentials }}
{{- with $cloud.region }}
- --cloud.region={{ . }}
{{- end }}
- --cloud.network={{ $cloud.network }}
{{- with $cloud.clusterID }}
- --cloud.cluster-id={{ . }}
{{- end }}
- --cloud.rate={{ $cloud.rate }}
- --cloud.budget={{ int $cloud.budget }}
- --cloud.timeout={{ $cloud.timeout }}
{{- end -}}
{{- end -}}

{{- define "ack-exporter.rrsaFolder" -}}
/var/run/secrets/ack.alibabacloud.com/rrsa-tokens
{{- end -}}

{{/* Environment for the API of the cloud, but what the webhook adds. */}}
{{- define "ack-exporter.cloudEnvironment" -}}
{{- $cloud := .Values.cluster.cloud -}}
{{- if $cloud.rrsaRoleARN -}}
- name: ALIBABA_CLOUD_ROLE_ARN
  value: {{ $cloud.rrsaRoleARN | quote }}
- name: ALIBABA_CLOUD_OIDC_PROVIDER_ARN
  value: {{ $cloud.rrsaProviderARN | quote }}
- name: ALIBABA_CLOUD_OIDC_TOKEN_FILE
  value: {{ include "ack-exporter.rrsaFolder" . }}/token
{{- end }}
{{- if $cloud.secret -}}
{{- range $name, $optional := dict "ALIBABA_CLOUD_ACCESS_KEY_ID" false "ALIBABA_CLOUD_ACCESS_KEY_SECRET" false "ALIBABA_CLOUD_SECURITY_TOKEN" true }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $cloud.secret }}, key: {{ $name }}{{ if $optional }}, optional: true{{ end }}}
{{- end }}
{{- end }}
{{- end -}}
