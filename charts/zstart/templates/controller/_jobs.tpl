{{/* Names and pod template of conversions as Jobs. The controller adds the conversion, its login and the rest of the Job. */}}

{{- define "zstart.converter.fullname" -}}{{ include "zstart.fullname" . }}-converter{{- end -}}

{{- define "zstart.converter.template" -}}
{{- $values := .Values.controller.jobs -}}
{{- $image := .Values.image -}}
{{- $controller := .Values.controller.image -}}
metadata:
  {{- with $values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  labels:
    {{- include "zstart.selectorLabels" (dict "root" . "component" "converter") | nindent 4 }}
    app.kubernetes.io/part-of: zstart
    # Admission skips zstart's own pods, so zstart never waits for itself.
    zstart.dev/rewrite: disabled
    {{- with merge dict ($values.podLabels | default dict) (.Values.commonLabels | default dict) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "zstart.converter.fullname" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.hostAliases }}
  hostAliases:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  # An interrupted conversion leaves no tag.
  terminationGracePeriodSeconds: 5
  containers:
    - name: convert
      {{- if $controller.digest }}
      image: {{ printf "%s/%s@%s" $image.registry $controller.name $controller.digest | quote }}
      {{- else }}
      image: {{ printf "%s/%s:%s" $image.registry $controller.name ($image.tag | default .Chart.AppVersion) | quote }}
      {{- end }}
      imagePullPolicy: {{ $image.pullPolicy }}
      env:
        - name: RUST_LOG
          value: {{ .Values.logLevel | quote }}
        - name: ZSTART_LOG_FORMAT
          value: {{ .Values.logFormat | default "text" | quote }}
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.extraVolumeMounts }}
      volumeMounts:
        {{- toYaml . | nindent 8 }}
      {{- end }}
  {{- with $values.extraVolumes }}
  volumes:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
