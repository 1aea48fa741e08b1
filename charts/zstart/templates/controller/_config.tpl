{{- define "zstart.executor" -}}{{ .Values.controller.executor | default "pool" }}{{- end -}}
{{- define "zstart.measurePulls" -}}{{ ne (toString .Values.controller.measurePulls) "false" }}{{- end -}}

{{/* The controller's configuration file. Its fields are exactly those of the controller's `Config` type. */}}
{{- define "zstart.controller.config" -}}
{{- $values := .Values.controller -}}
{{- $recheck := include "zstart.seconds" $values.recheckInterval | int64 -}}
{{- if ge $recheck (include "zstart.seconds" .Values.webhook.maxStaleness | int64) -}}
{{- fail (printf "controller.recheckInterval (%s) must be shorter than webhook.maxStaleness (%s): otherwise a record would be too old to use before its tag is resolved again" $values.recheckInterval .Values.webhook.maxStaleness) -}}
{{- end -}}
{{- $recheckAlways := $values.recheckIntervalAlways | default "1m" -}}
{{- $always := include "zstart.seconds" $recheckAlways | int64 -}}
{{- $maxAlways := .Values.webhook.maxStalenessAlways | default "2m" -}}
{{- if ge (min $always $recheck) (include "zstart.seconds" $maxAlways | int64) -}}
{{- fail (printf "controller.recheckIntervalAlways (%s) must be shorter than webhook.maxStalenessAlways (%s): otherwise a record would be too old for pods with imagePullPolicy: Always before its tag is resolved again" $recheckAlways $maxAlways) -}}
{{- end -}}
{{- $confirm := $values.confirmInterval | default "8h" -}}
{{- if gt (include "zstart.seconds" $confirm | int64) 72000 -}}
{{- fail (printf "controller.confirmInterval (%s) must be at most 20h: the webhook uses no variant that wasn't confirmed for a day" $confirm) -}}
{{- end -}}
healthListen: {{ printf "%s:8080" (include "zstart.listenAddress" .) | quote }}
lease: {{ include "zstart.controller.fullname" . }}
level: {{ $values.level | int }}
method: {{ $values.method | default "auto" }}
verify: {{ $values.verify | default "sampled" }}
platforms: {{ required "controller.platforms is unset: set nodes, all, or a list" $values.platforms | toJson }}
platformRetention: {{ $values.platformRetention | default "168h" }}
platformsConfigMap: {{ include "zstart.controller.fullname" . }}-platforms
executor: {{ include "zstart.executor" . }}
workers: {{ $values.workers | int }}
{{- if eq (include "zstart.executor" .) "jobs" }}
{{- $jobs := $values.jobs | default dict }}
jobs:
  maxJobs: {{ $jobs.maxJobs | default 20 | int }}
  queue: {{ $jobs.queue | default "" | quote }}
  ttl: {{ $jobs.ttl | default "1h" }}
  ecrRole: {{ $jobs.ecrRole | default "" | quote }}
  template:
    {{- include "zstart.converter.template" . | nindent 4 }}
{{- end }}
layersAtOnce: {{ $values.layersAtOnce | int }}
tagChildren: {{ $values.tagChildren | default "auto" }}
conversionTimeout: {{ $values.conversionTimeout | default "1h" }}
recheckInterval: {{ $values.recheckInterval }}
recheckIntervalAlways: {{ $recheckAlways }}
confirmInterval: {{ $confirm }}
measurePulls: {{ include "zstart.measurePulls" . }}
keepRecordsFor: {{ .Values.records.keepFor | default "168h" }}
immutableTags: {{ .Values.records.immutableTags | default list | toJson }}
plainHttpRegistries: {{ $values.plainHttpRegistries | default list | toJson }}
tokenServers: {{ $values.tokenServers | default list | toJson }}
credentialsFile: {{ ternary "/etc/zstart/credentials/config.json" "" (ne $values.credentialsSecret "") | quote }}
ecrRegistries: {{ $values.ecrRegistries | default list | toJson }}
{{- $pull := include "zstart.pullSecrets" . | fromJson }}
usePullSecrets: {{ $pull.enabled }}
pullSecretNames: {{ $pull.names | toJson }}
pullSecretNamespaces: {{ $pull.namespaces | toJson }}
excludedNamespaces: {{ .Values.webhook.excludedNamespaces | default list | toJson }}
allowedControllers: {{ .Values.webhook.allowedControllers | default list | toJson }}
{{- if eq (include "zstart.certificate.mode" .) "zstart" }}
rotateCertificates: true
webhook:
  configuration: {{ include "zstart.webhook.configuration" . }}
  service: {{ include "zstart.webhook.fullname" . }}
  servingSecret: {{ include "zstart.servingSecret" . }}
  caSecret: {{ include "zstart.caSecret" . }}
{{- else }}
rotateCertificates: false
{{- end }}
{{- end -}}
