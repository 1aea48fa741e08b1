{{/*
The value controller.usePullSecrets as JSON: whether pull secrets are used, whether the right holds in the whole
cluster, and the names and namespaces to which it is limited.
*/}}
{{- define "zstart.pullSecrets" -}}
{{- $use := .Values.controller.usePullSecrets -}}
{{- $names := list -}}
{{- $namespaces := list -}}
{{- if kindIs "invalid" $use -}}
{{- fail "controller.usePullSecrets is unset: set true, false, auto, a list of Secret names, or {namespaces: [...]}" -}}
{{- else if kindIs "slice" $use -}}
{{- $names = $use -}}
{{- else if kindIs "map" $use -}}
{{- $names = $use.names | default list -}}
{{- $namespaces = $use.namespaces -}}
{{- end -}}
{{- $all := or (kindIs "slice" $use) (eq (toString $use) "true") -}}
{{- dict "enabled" (ne (toString $use) "false") "all" $all "names" $names "namespaces" $namespaces | toJson -}}
{{- end -}}

{{/* Rules to read pull secrets, each by the name that a pod or its service account gives. Never listed. */}}
{{- define "zstart.pullSecrets.rules" -}}
{{- $pull := include "zstart.pullSecrets" . | fromJson -}}
- apiGroups: [""]
  resources: [secrets]
  {{- with $pull.names }}
  resourceNames: {{ toJson . }}
  {{- end }}
  verbs: [get]
# They name pull secrets.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get]
{{- end -}}
