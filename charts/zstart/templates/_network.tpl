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

{{/* Services of the node that give the controller its AWS identity. */}}
{{- define "zstart.network.aws" -}}
# EKS Pod Identity, and instance metadata.
- to:
    - ipBlock:
        cidr: 169.254.170.23/32
    - ipBlock:
        cidr: fd00:ec2::23/128
    - ipBlock:
        cidr: 169.254.169.254/32
    - ipBlock:
        cidr: fd00:ec2::254/128
  ports:
    - protocol: TCP
      port: 80
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
