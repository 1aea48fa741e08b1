{{/*
Mode of the webhook's certificate, one of three parties that issue it: zstart (the controller), certManager,
secret (an administrator). The schema checks each value; this template checks that the values fit together.
*/}}
{{- define "zstart.certificate.mode" -}}
{{- $certificate := .Values.webhook.certificate | default dict -}}
{{- $mode := $certificate.mode | default "zstart" -}}
{{- if eq $mode "secret" -}}
{{- if not $certificate.secretName -}}
{{- fail "webhook.certificate.mode is secret, but webhook.certificate.secretName is empty: name a Secret of type kubernetes.io/tls in the release's namespace" -}}
{{- end -}}
{{- if has $certificate.secretName (list (include "zstart.ownServingSecret" .) (include "zstart.caSecret" .) (include "zstart.rootSecret" .)) -}}
{{- fail (printf "webhook.certificate.secretName is %s, a Secret that the other modes write: choose another name" $certificate.secretName) -}}
{{- end -}}
{{- if not $certificate.caBundle -}}
{{- fail "webhook.certificate.mode is secret, but webhook.certificate.caBundle is empty: set the PEM of the authority that signed the Secret's certificate, e.g. with --set-file webhook.certificate.caBundle=ca.crt" -}}
{{- end -}}
{{- else -}}
{{- range $name := list "secretName" "caBundle" -}}
{{- if get $certificate $name -}}
{{- fail (printf "webhook.certificate.%s is set, but webhook.certificate.mode is %s, which doesn't use the value: set the mode to secret, or remove the value" $name $mode) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $certificate.issuerRef (ne $mode "certManager") -}}
{{- fail (printf "webhook.certificate.issuerRef is set, but webhook.certificate.mode is %s, which doesn't use the value: set the mode to certManager, or remove the value" $mode) -}}
{{- end -}}
{{- $mode -}}
{{- end -}}

{{/* Secret that zstart or cert-manager creates for the webhook's certificate, and the Certificate's name. */}}
{{- define "zstart.ownServingSecret" -}}{{ include "zstart.webhook.fullname" . }}-tls{{- end -}}
{{/* Secret of the authority that the controller creates. */}}
{{- define "zstart.caSecret" -}}{{ include "zstart.webhook.fullname" . }}-ca{{- end -}}
{{/* Secret of the authority that cert-manager creates. Its type differs from that of the controller's. */}}
{{- define "zstart.rootSecret" -}}{{ include "zstart.webhook.fullname" . }}-root{{- end -}}

{{/* Secret with the certificate that the webhook serves. */}}
{{- define "zstart.servingSecret" -}}
{{- if eq (include "zstart.certificate.mode" .) "secret" -}}
{{ .Values.webhook.certificate.secretName }}
{{- else -}}
{{ include "zstart.ownServingSecret" . }}
{{- end -}}
{{- end -}}

{{/*
Name of the MutatingWebhookConfiguration. Mode secret has a name of its own, because Helm owns caBundle in that
mode: under one name, an upgrade by server-side apply would conflict with the field's earlier owner.
*/}}
{{- define "zstart.webhook.configuration" -}}
{{- if eq (include "zstart.certificate.mode" .) "secret" -}}
{{ include "zstart.webhook.fullname" . }}
{{- else -}}
{{ include "zstart.fullname" . }}
{{- end -}}
{{- end -}}

{{/* Value of caBundle in mode secret, in base64. Accepts PEM, and PEM in base64. */}}
{{- define "zstart.certificate.caBundle" -}}
{{- $text := .Values.webhook.certificate.caBundle | trim -}}
{{- if not (contains "-----BEGIN" $text) -}}
{{- $text = $text | b64dec | trim -}}
{{- end -}}
{{- if contains "PRIVATE KEY" $text -}}
{{- fail "webhook.certificate.caBundle has a private key, which every reader of the webhook configuration could read: set certificates only" -}}
{{- end -}}
{{- if not (regexMatch "(?s)-----BEGIN CERTIFICATE-----.+-----END CERTIFICATE-----" $text) -}}
{{- fail "webhook.certificate.caBundle has no certificate: set PEM (-----BEGIN CERTIFICATE-----), or PEM in base64" -}}
{{- end -}}
{{- printf "%s\n" $text | b64enc -}}
{{- end -}}
