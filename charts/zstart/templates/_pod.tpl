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
serviceAccountName: {{ include (printf "zstart.%s.fullname" .component) .root }}
automountServiceAccountToken: true
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
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Image, arguments and environment of the pod's only container. */}}
{{- define "zstart.pod.container" -}}
name: {{ .component }}
{{- $image := .root.Values.image }}
{{- if .values.image.digest }}
image: {{ printf "%s/%s@%s" $image.registry .values.image.name .values.image.digest | quote }}
{{- else }}
image: {{ printf "%s/%s:%s" $image.registry .values.image.name ($image.tag | default .root.Chart.AppVersion) | quote }}
{{- end }}
imagePullPolicy: {{ $image.pullPolicy }}
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
  {{- with .values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.securityContext }}
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
