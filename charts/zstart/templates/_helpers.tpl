{{/*
Names, labels and values that several templates need. The configuration files
(controller/_config.tpl, webhook/_config.tpl) pass the names to the two binaries.
*/}}

{{/*
Prefix of every name. Cut at 50 characters: with "-webhook-root" the name must fit into a label's 63.
The prefix must start with a letter for two reasons. A Service's name must start with one. The API
server calls webhooks in the order of their names, and EKS's own Fargate webhook
("0500-amazon-eks-fargate-…") must be called before zstart's.
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
{{- fail (printf "the name %q must start with a letter, contain only lower-case letters, digits and dashes, and not be a YAML keyword such as on or true: choose another release name, or set fullnameOverride" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "zstart.controller.fullname" -}}{{ include "zstart.fullname" . }}-controller{{- end -}}
{{- define "zstart.webhook.fullname" -}}{{ include "zstart.fullname" . }}-webhook{{- end -}}

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

{{/* Labels that select a component's pods. Kubernetes forbids changing a Deployment's selector. */}}
{{- define "zstart.selectorLabels" -}}
app.kubernetes.io/name: zstart
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Seconds of a duration such as 10m. values.schema.json checks the format. */}}
{{- define "zstart.seconds" -}}
{{- $unit := get (dict "s" 1 "m" 60 "h" 3600) (regexFind "[smh]$" .) -}}
{{- mul (regexFind "^[0-9]+" . | int64) $unit -}}
{{- end -}}
