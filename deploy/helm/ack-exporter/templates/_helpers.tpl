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
