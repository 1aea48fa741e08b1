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
{{- else -}}
{{- $word := .Values.nameOverride | default "zstart" -}}
{{- $name = ternary .Release.Name (printf "%s-%s" .Release.Name $word) (contains $word .Release.Name) -}}
{{- end -}}
{{- $name = $name | trunc 50 | trimSuffix "-" -}}
{{- if or (not (regexMatch "^[a-z][a-z0-9-]*$" $name)) (has $name (list "true" "false" "yes" "no" "on" "off" "null" "y" "n")) -}}
{{- fail (printf "the name %q must start with a letter, contain only lower-case letters, digits and dashes, and not be a YAML keyword such as on or true: choose another release name, or set fullnameOverride" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "zstart.controller.fullname" -}}{{ include "zstart.fullname" . }}-controller{{- end -}}
{{- define "zstart.webhook.fullname" -}}{{ include "zstart.fullname" . }}-webhook{{- end -}}

{{/* Image of a program. Takes {root, image}, the latter with name and digest. */}}
{{- define "zstart.image" -}}
{{- $common := .root.Values.image -}}
{{- if .image.digest -}}
{{- printf "%s/%s@%s" $common.registry .image.name .image.digest -}}
{{- else -}}
{{- printf "%s/%s:%s" $common.registry .image.name ($common.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- define "zstart.controller.image" -}}{{ include "zstart.image" (dict "root" . "image" .Values.controller.image) }}{{- end -}}

{{/* Labels of every object. Takes {root, component, own}; own ones, which may be absent, replace common ones. */}}
{{- define "zstart.labels" -}}
{{ include "zstart.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: zstart
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with merge dict (.own | default dict) (.root.Values.commonLabels | default dict) }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Annotations of an object at the depth of its metadata. Takes {root, own}; own ones have precedence. */}}
{{- define "zstart.annotations" }}
{{- with merge dict (.own | default dict) (.root.Values.commonAnnotations | default dict) }}
  annotations:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}

{{/*
Name of a component's service account. Takes {root, component}. The namespace's account "default" would give the
rights to every pod without an account of its own.
*/}}
{{- define "zstart.serviceAccount" -}}
{{- $path := ternary "controller.jobs" .component (eq .component "converter") -}}
{{- $values := ternary .root.Values.controller.jobs (get .root.Values .component) (eq .component "converter") | default dict -}}
{{- $account := $values.serviceAccount | default dict -}}
{{- if $account.name -}}
{{- $account.name -}}
{{- else if include "zstart.serviceAccount.create" . -}}
{{- include (printf "zstart.%s.fullname" .component) .root -}}
{{- else -}}
{{- fail (printf "%s.serviceAccount.create is false: name the existing account in %s.serviceAccount.name" $path $path) -}}
{{- end -}}
{{- end -}}

{{/* Not empty if the chart creates the service account. Takes {root, component}. */}}
{{- define "zstart.serviceAccount.create" -}}
{{- $values := ternary .root.Values.controller.jobs (get .root.Values .component) (eq .component "converter") | default dict -}}
{{- $account := $values.serviceAccount | default dict -}}
{{- if ne (toString $account.create) "false" -}}true{{- end -}}
{{- end -}}

{{/* Members of `common`, replaced by those of `own`; a member that is null is left out. As YAML. */}}
{{- define "zstart.merged" -}}
{{- $all := dict -}}
{{- range $part := list .common .own -}}
{{- range $name, $value := $part -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $all $name -}}
{{- else -}}
{{- $_ := set $all $name $value -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* Number of old ReplicaSets. Zero is a number, so `default` alone would change it. */}}
{{- define "zstart.revisionHistoryLimit" -}}
{{- ternary 10 .Values.revisionHistoryLimit (kindIs "invalid" .Values.revisionHistoryLimit) | int -}}
{{- end -}}

{{- define "zstart.listenAddress" -}}{{ .Values.listenAddress | default "0.0.0.0" }}{{- end -}}

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
