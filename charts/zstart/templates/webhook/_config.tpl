{{/* The webhook's configuration file. Its fields are exactly those of the webhook's `Config` type. */}}
{{- define "zstart.webhook.config" -}}
{{- $values := .Values.webhook -}}
{{- if eq ($values.port | int) ($values.healthPort | int) -}}
{{- fail (printf "webhook.port and webhook.healthPort are both %d: set two different ports" ($values.port | int)) -}}
{{- end -}}
{{- if and $values.hostNetwork (or (lt ($values.port | int) 1024) (lt ($values.healthPort | int) 1024)) -}}
{{- fail "webhook.hostNetwork needs webhook.port and webhook.healthPort of at least 1024: zstart's pods don't have the right to bind lower ports" -}}
{{- end -}}
listen: 0.0.0.0:{{ $values.port | int }}
healthListen: 0.0.0.0:{{ $values.healthPort | int }}
servingSecret: {{ include "zstart.servingSecret" . }}
maxStaleness: {{ $values.maxStaleness }}
whenNoNode: {{ $values.whenNoNode }}
allowedTargets: {{ $values.allowedTargets | default list | toJson }}
allowedControllers: {{ $values.allowedControllers | default list | toJson }}
{{- end -}}
