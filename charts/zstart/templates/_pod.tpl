{{/* Parts that the pods of both components share. Each takes {root, component, values}. */}}

{{- define "zstart.pod.metadata" -}}
annotations:
  # A changed configuration file rolls the pods, because the binaries read the file only at start.
  checksum/config: {{ include (printf "zstart.%s.config" .component) .root | sha256sum }}
  {{- with .values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  # The chart's version is left out: an upgrade that changes nothing in a pod must not roll the pod.
  {{- include "zstart.selectorLabels" . | nindent 2 }}
  # Admission skips zstart's own pods, so zstart never waits for itself.
  zstart.dev/rewrite: disabled
  {{- with merge dict (.values.podLabels | default dict) (.root.Values.commonLabels | default dict) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "zstart.pod.spec" -}}
serviceAccountName: {{ include "zstart.serviceAccount" . }}
automountServiceAccountToken: {{ ne (toString .values.automountServiceAccountToken) "false" }}
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "zstart.pod.spread" . }}
{{- include "zstart.pod.dns" (dict "root" .root "hostNetwork" .values.hostNetwork) }}
{{- with include "zstart.merged" (dict "common" .root.Values.podSecurityContext "own" .values.podSecurityContext) | fromYaml }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* DNS of a pod. Takes {root, hostNetwork}. */}}
{{- define "zstart.pod.dns" }}
{{- with .root.Values.dnsPolicy | default (ternary "ClusterFirstWithHostNet" "" (.hostNetwork | default false)) }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .root.Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
Spreads a component's replicas over zones and nodes. Two replicas on one node or in one zone are better than one
replica, so nothing is enforced. matchLabelKeys leaves out the pods of the version that is being replaced.
*/}}
{{- define "zstart.pod.spread" }}
affinity:
  {{- with .values.affinity }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  # Zones by affinity, because many clusters have none: on a node that lacks the label of one spread constraint,
  # the scheduler's score ignores all of them (requireAllTopologies in podtopologyspread/scoring.go).
  # Kubernetes 1.30 drops matchLabelKeys here.
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: topology.kubernetes.io/zone
          labelSelector:
            matchLabels:
              {{- include "zstart.selectorLabels" . | nindent 14 }}
          matchLabelKeys: [pod-template-hash]
  {{- end }}
topologySpreadConstraints:
  {{- with .values.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  - topologyKey: kubernetes.io/hostname
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "zstart.selectorLabels" . | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end -}}

{{- define "zstart.maxUnavailable" -}}
{{- $value := (. | default dict).maxUnavailable -}}
{{- if kindIs "invalid" $value }}1{{ else if kindIs "string" $value }}{{ $value | quote }}{{ else }}{{ $value | int }}{{ end -}}
{{- end -}}

{{/*
A disruption budget. Takes {root, component, values}. maxUnavailable instead of "minAvailable: 1", which would block
every drain if there is one replica.
*/}}
{{- define "zstart.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include (printf "zstart.%s.fullname" .component) .root }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "zstart.labels" . | nindent 4 }}
  {{- include "zstart.annotations" (dict "root" .root) }}
spec:
  maxUnavailable: {{ include "zstart.maxUnavailable" .values.podDisruptionBudget }}
  # A pod that never became ready must not block a drain.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "zstart.selectorLabels" . | nindent 6 }}
{{- end -}}

{{/* Image, arguments and environment of the pod's only container. */}}
{{- define "zstart.pod.container" -}}
name: {{ .component }}
image: {{ include "zstart.image" (dict "root" .root "image" .values.image) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args:
  - --config=/etc/zstart/config.yaml
env:
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: RUST_LOG
    value: {{ .root.Values.logLevel | quote }}
  - name: ZSTART_LOG_FORMAT
    value: {{ .root.Values.logFormat | default "text" | quote }}
  {{- if eq .component "controller" }}
  {{- with include "zstart.outbound.env" (dict "root" .root "extraEnv" .values.extraEnv "path" "controller.extraEnv") | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- end }}
  {{- with .values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "zstart.merged" (dict "common" .root.Values.securityContext "own" .values.securityContext) | fromYaml }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
Probes of the plain-http health port. The liveness probe has its own path, so an unready pod isn't killed.
Time limits above the default of one second: a node short of processor time must not take both replicas out
of the Service, nor restart them.
*/}}
{{- define "zstart.pod.probes" -}}
livenessProbe:
  httpGet:
    path: /livez
    port: health
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: health
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 3
{{- end -}}
