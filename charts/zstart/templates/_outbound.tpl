{{/*
Settings of requests to registries and AWS, which the controller and the Jobs send: proxy and certificate authorities.
*/}}

{{/* Variables of the environment. Takes {root, extraEnv, path}; the path names extraEnv in an error. */}}
{{- define "zstart.outbound.env" -}}
{{- $proxy := .root.Values.proxy | default dict -}}
{{- $extra := list -}}
{{- range .extraEnv }}{{ $extra = append $extra .name }}{{ end -}}
{{- range $pair := list (list "HTTPS_PROXY" "httpsProxy") (list "HTTP_PROXY" "httpProxy") (list "NO_PROXY" "noProxy") -}}
{{- $name := first $pair -}}
{{- with get $proxy (last $pair) -}}
{{- if has $name $extra -}}
{{- fail (printf "proxy.%s and %s both set %s: remove one of them" (last $pair) $.path $name) -}}
{{- end }}
- name: {{ $name }}
  value: {{ . | quote }}
{{- end -}}
{{- end -}}
{{- if include "zstart.caBundle" .root | fromYaml -}}
{{- range $name := list "SSL_CERT_FILE" "SSL_CERT_DIR" -}}
{{- if has $name $extra -}}
{{- fail (printf "caBundle and %s both set %s: remove one of them" $.path $name) -}}
{{- end -}}
{{- end }}
# Both are read: the image's public authorities, and yours.
- name: SSL_CERT_FILE
  value: /etc/ssl/certs/ca-certificates.crt
- name: SSL_CERT_DIR
  value: /etc/zstart/authorities
{{- end -}}
{{- end -}}

{{/* Source of the certificate authorities as a volume, or nothing. */}}
{{- define "zstart.caBundle" -}}
{{- $bundle := .Values.caBundle | default dict -}}
{{- if and $bundle.configMap $bundle.secret -}}
{{- fail "caBundle.configMap and caBundle.secret are both set: name one of them" -}}
{{- end -}}
{{- $items := list (dict "key" ($bundle.key | default "ca.crt") "path" "ca.crt") -}}
{{- if $bundle.configMap -}}
{{- dict "name" "authorities" "configMap" (dict "name" $bundle.configMap "items" $items) | toYaml -}}
{{- else if $bundle.secret -}}
{{- dict "name" "authorities" "secret" (dict "secretName" $bundle.secret "items" $items) | toYaml -}}
{{- end -}}
{{- end -}}

{{/* The volume of the certificate authorities as a list, and its mount. */}}
{{- define "zstart.caBundle.volume" -}}
{{- with include "zstart.caBundle" . | fromYaml }}
{{- list . | toYaml }}
{{- end }}
{{- end -}}
{{- define "zstart.caBundle.mount" -}}
{{- if include "zstart.caBundle" . | fromYaml -}}
- name: authorities
  mountPath: /etc/zstart/authorities
  readOnly: true
{{- end }}
{{- end -}}
