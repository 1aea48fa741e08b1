{{- define "zstart.network.dns" -}}
# DNS.
- ports:
    - protocol: UDP
      port: 53
    - protocol: TCP
      port: 53
{{- end -}}

{{- define "zstart.network.registries" -}}
# Registries.
- ports:
    {{- range required "networkPolicy.registryPorts is unset: every port would be open" .Values.networkPolicy.registryPorts }}
    - protocol: TCP
      port: {{ . | int }}
    {{- end }}
{{- end -}}

{{/* Egress that both components need. */}}
{{- define "zstart.network.egress" -}}
{{ include "zstart.network.dns" . }}
# The API server. The chart doesn't know its address, and a pod selector doesn't match it.
- ports:
    {{- range required "networkPolicy.apiServerPorts is unset: every port would be open" .Values.networkPolicy.apiServerPorts }}
    - protocol: TCP
      port: {{ . | int }}
    {{- end }}
{{- end -}}

{{/* Ingress to health and metrics. Takes {root, port}. */}}
{{- define "zstart.network.health" -}}
- ports:
    - protocol: TCP
      port: {{ .port }}
  {{- with .root.Values.networkPolicy.metricsFrom }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
