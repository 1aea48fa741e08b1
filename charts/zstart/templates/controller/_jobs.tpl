{{/* Names and pod template of conversions as Jobs. The controller adds the conversion, its login and the rest of the Job. */}}

{{- define "zstart.converter.fullname" -}}{{ include "zstart.fullname" . }}-converter{{- end -}}

{{- define "zstart.converter.template" -}}
{{- $values := .Values.controller.jobs | default dict -}}
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
  serviceAccountName: {{ include "zstart.serviceAccount" (dict "root" . "component" "converter") }}
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
  {{- with include "zstart.pod.dns" (dict "root" .) | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  # An interrupted conversion leaves no tag.
  terminationGracePeriodSeconds: 5
  containers:
    - name: convert
      image: {{ include "zstart.controller.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      env:
        - name: RUST_LOG
          value: {{ .Values.logLevel | quote }}
        - name: ZSTART_LOG_FORMAT
          value: {{ .Values.logFormat | default "text" | quote }}
        {{- with include "zstart.outbound.env" (dict "root" . "extraEnv" $values.extraEnv "path" "controller.jobs.extraEnv") | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $values.extraEnvFrom }}
      envFrom:
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
      {{- $mount := include "zstart.caBundle.mount" . }}
      {{- if or $mount $values.extraVolumeMounts }}
      volumeMounts:
        {{- with $mount }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
  {{- $volume := include "zstart.caBundle.volume" . }}
  {{- if or $volume $values.extraVolumes }}
  volumes:
    {{- with $volume }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end -}}
