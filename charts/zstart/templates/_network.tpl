{{/* Egress that both components need. */}}
{{- define "zstart.network.egress" -}}
# Names.
- ports:
    - protocol: UDP
      port: 53
    - protocol: TCP
      port: 53
# The API server. Its address isn't known here, and it is no pod that a selector could find.
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
