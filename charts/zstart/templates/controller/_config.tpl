{{/* The controller's configuration file. Its fields are exactly those of the controller's `Config` type. */}}
{{- define "zstart.controller.config" -}}
{{- $values := .Values.controller -}}
{{- $recheck := include "zstart.seconds" $values.recheckInterval | int64 -}}
{{- if ge $recheck (include "zstart.seconds" .Values.webhook.maxStaleness | int64) -}}
{{- fail (printf "controller.recheckInterval (%s) must be shorter than webhook.maxStaleness (%s): otherwise a record would be too old to use before its tag is resolved again" $values.recheckInterval .Values.webhook.maxStaleness) -}}
{{- end -}}
{{- $always := include "zstart.seconds" $values.recheckIntervalAlways | int64 -}}
{{- $maxAlways := .Values.webhook.maxStalenessAlways -}}
{{- if ge (min $always $recheck) (include "zstart.seconds" $maxAlways | int64) -}}
{{- fail (printf "controller.recheckIntervalAlways (%s) must be shorter than webhook.maxStalenessAlways (%s): otherwise a record would be too old for pods with imagePullPolicy: Always before its tag is resolved again" $values.recheckIntervalAlways $maxAlways) -}}
{{- end -}}
{{- if gt (include "zstart.seconds" $values.confirmInterval | int64) 72000 -}}
{{- fail (printf "controller.confirmInterval (%s) must be at most 20h: the webhook uses no variant that wasn't confirmed for a day" $values.confirmInterval) -}}
{{- end -}}
healthListen: 0.0.0.0:8080
lease: {{ include "zstart.controller.fullname" . }}
level: {{ $values.level | int }}
method: {{ $values.method | default "auto" }}
verify: {{ $values.verify | default "sampled" }}
platforms: {{ required "controller.platforms is unset: set nodes, all, or a list" $values.platforms | toJson }}
platformRetention: {{ $values.platformRetention }}
platformsConfigMap: {{ include "zstart.controller.fullname" . }}-platforms
executor: {{ $values.executor }}
workers: {{ $values.workers | int }}
{{- if eq $values.executor "jobs" }}
jobs:
  maxJobs: {{ $values.jobs.maxJobs | int }}
  queue: {{ $values.jobs.queue | quote }}
  ttl: {{ $values.jobs.ttl }}
  ecrRole: {{ $values.jobs.ecrRole | quote }}
  template:
    {{- include "zstart.converter.template" . | nindent 4 }}
{{- end }}
layersAtOnce: {{ $values.layersAtOnce | int }}
tagChildren: {{ $values.tagChildren }}
conversionTimeout: {{ $values.conversionTimeout }}
recheckInterval: {{ $values.recheckInterval }}
recheckIntervalAlways: {{ $values.recheckIntervalAlways }}
confirmInterval: {{ $values.confirmInterval }}
measurePulls: {{ $values.measurePulls }}
keepRecordsFor: {{ .Values.records.keepFor }}
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
