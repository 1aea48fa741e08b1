{{/* The webhook's configuration file. Its fields are those of the webhook's own type, no more. */}}
{{- define "zstart.webhook.config" -}}
{{- $values := .Values.webhook -}}
{{- if eq ($values.port | int) ($values.healthPort | int) -}}
{{- fail (printf "webhook.port and webhook.healthPort are both %d: a pod can't listen twice" ($values.port | int)) -}}
{{- end -}}
{{- if and $values.hostNetwork (or (lt ($values.port | int) 1024) (lt ($values.healthPort | int) 1024)) -}}
{{- fail "webhook.hostNetwork with a port below 1024 needs a right that zstart's pods don't have: choose webhook.port and webhook.healthPort from 1024 up" -}}
{{- end -}}
listen: 0.0.0.0:{{ $values.port | int }}
healthListen: 0.0.0.0:{{ $values.healthPort | int }}
servingSecret: {{ include "zstart.servingSecret" . }}
maxStaleness: {{ $values.maxStaleness }}
whenNoNode: {{ $values.whenNoNode }}
allowedTargets: {{ $values.allowedTargets | default list | toJson }}
allowedControllers: {{ $values.allowedControllers | default list | toJson }}
{{- end -}}
