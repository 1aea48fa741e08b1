{{- define "zstart.webhook.grace" -}}{{ (.Values.webhook.drain | default dict).grace | default "12s" }}{{- end -}}

{{/* The webhook's configuration file. Its fields are exactly those of the webhook's `Config` type. */}}
{{- define "zstart.webhook.config" -}}
{{- $values := .Values.webhook -}}
{{- if eq ($values.port | int) ($values.healthPort | int) -}}
{{- fail (printf "webhook.port and webhook.healthPort are both %d: set two different ports" ($values.port | int)) -}}
{{- end -}}
{{- if and $values.hostNetwork (or (lt ($values.port | int) 1024) (lt ($values.healthPort | int) 1024)) -}}
{{- fail "webhook.hostNetwork needs webhook.port and webhook.healthPort of at least 1024: zstart's pods don't have the right to bind lower ports" -}}
{{- end -}}
{{- if $values.hostNetwork -}}
{{- /* healthz and metrics of kubelet and kube-proxy, and the kubelet's API. */ -}}
{{- range $name := list "port" "healthPort" -}}
{{- if has (get $values $name | int) (list 10248 10249 10250 10255 10256) -}}
{{- fail (printf "webhook.%s is %d, which kubelet or kube-proxy uses on every node: with webhook.hostNetwork, set another port" $name (get $values $name | int)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
listen: {{ printf "%s:%d" (include "zstart.listenAddress" .) ($values.port | int) | quote }}
healthListen: {{ printf "%s:%d" (include "zstart.listenAddress" .) ($values.healthPort | int) | quote }}
servingSecret: {{ include "zstart.servingSecret" . }}
drain:
  grace: {{ include "zstart.webhook.grace" . }}
maxStaleness: {{ $values.maxStaleness }}
maxStalenessAlways: {{ $values.maxStalenessAlways | default "2m" }}
maxCacheAge: {{ $values.maxCacheAge | default "5m" }}
immutableTags: {{ .Values.records.immutableTags | default list | toJson }}
runtimes: {{ ternary (dict "containerd" "1.5") $values.runtimes (kindIs "invalid" $values.runtimes) | toJson }}
whenNoNode: {{ $values.whenNoNode | default "leave" | toJson }}
minSize: {{ if kindIs "string" $values.minSize }}{{ $values.minSize | quote }}{{ else }}{{ $values.minSize | int64 }}{{ end }}
minGain: {{ $values.minGain | float64 }}
signedImages: {{ $values.signedImages | default list | toJson }}
allowedTargets: {{ $values.allowedTargets | default list | toJson }}
allowedControllers: {{ $values.allowedControllers | default list | toJson }}
{{- end -}}
