{{/* The webhook's configuration file. Its fields are those of the webhook's own type, no more. */}}
{{- define "zstart.webhook.config" -}}
{{- $values := .Values.webhook -}}
listen: 0.0.0.0:{{ $values.port | int }}
healthListen: 0.0.0.0:{{ $values.healthPort | int }}
servingSecret: {{ include "zstart.servingSecret" . }}
maxStaleness: {{ $values.maxStaleness }}
whenNoNode: {{ $values.whenNoNode }}
allowedTargets: {{ toJson $values.allowedTargets }}
allowedControllers: {{ toJson $values.allowedControllers }}
{{- end -}}
