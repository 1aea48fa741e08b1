{{/*
Names, labels and values that several templates need. The names that the two binaries must know reach
them through their configuration files (controller/_config.tpl, webhook/_config.tpl).
*/}}

{{/*
In front of every name. Cut at 50 characters: "-webhook-tls" must still fit into the 63 of a label.
It must start with a letter: so must a Service, and the API server calls webhooks in the order of
their names, of which EKS's own Fargate webhook ("0500-amazon-eks-fargate-…") has to come first.
*/}}
{{- define "zstart.fullname" -}}
{{- $name := "" -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if contains "zstart" .Release.Name -}}
{{- $name = .Release.Name -}}
{{- else -}}
{{- $name = printf "%s-zstart" .Release.Name -}}
{{- end -}}
{{- $name = $name | trunc 50 | trimSuffix "-" -}}
{{- if or (not (regexMatch "^[a-z][a-z0-9-]*$" $name)) (has $name (list "true" "false" "yes" "no" "on" "off" "null" "y" "n")) -}}
{{- fail (printf "the name %q must start with a letter, hold only lower-case letters, digits and dashes, and be no word of YAML's own: choose another release name, or set fullnameOverride" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "zstart.controller.fullname" -}}{{ include "zstart.fullname" . }}-controller{{- end -}}
{{- define "zstart.webhook.fullname" -}}{{ include "zstart.fullname" . }}-webhook{{- end -}}

{{/* The Secrets that the controller makes: certificate authority, and the webhook's certificate. */}}
{{- define "zstart.caSecret" -}}{{ include "zstart.webhook.fullname" . }}-ca{{- end -}}
{{- define "zstart.servingSecret" -}}{{ include "zstart.webhook.fullname" . }}-tls{{- end -}}

{{/* Labels of every object. Takes {root, component}. */}}
{{- define "zstart.labels" -}}
{{ include "zstart.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: zstart
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels by which a component's pods are found: they can't change once it is installed. */}}
{{- define "zstart.selectorLabels" -}}
app.kubernetes.io/name: zstart
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Seconds of a duration such as 10m; values.schema.json has checked its form. */}}
{{- define "zstart.seconds" -}}
{{- $unit := get (dict "s" 1 "m" 60 "h" 3600) (regexFind "[smh]$" .) -}}
{{- mul (regexFind "^[0-9]+" . | int64) $unit -}}
{{- end -}}
