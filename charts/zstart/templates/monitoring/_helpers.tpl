{{/* Names, labels and endpoints that the objects of monitoring share. */}}

{{/* Labels of an object. Takes {root, labels}, whose labels replace common ones. */}}
{{- define "zstart.monitoring.labels" -}}
{{- include "zstart.labels" (dict "root" .root "component" "monitoring" "own" .labels) -}}
{{- end -}}

{{/* Endpoint of a ServiceMonitor or PodMonitor. Takes {values, port}. */}}
{{- define "zstart.monitoring.endpoint" -}}
port: {{ .port }}
path: /metrics
interval: {{ .values.interval }}
{{- with .values.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .values.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Specification of a ServiceMonitor's or PodMonitor's selection. */}}
{{- define "zstart.monitoring.selection" -}}
namespaceSelector:
  matchNames:
    - {{ .Release.Namespace }}
selector:
  matchLabels:
    app.kubernetes.io/name: zstart
    app.kubernetes.io/instance: {{ .Release.Name | quote }}
  # Without the conversions' Jobs, which serve no metrics.
  matchExpressions:
    - key: app.kubernetes.io/component
      operator: In
      values: [controller, webhook]
{{- end -}}
