{{- define "spoor.images.operator" -}}
{{ include "spoor.images.own" (dict "root" . "image" .Values.images.operator) }}
{{- end -}}

{{- define "spoor.images.applications" -}}
{{ include "spoor.images.own" (dict "root" . "image" .Values.images.applications) }}
{{- end -}}

{{/* dict: root, image (repository, tag, digest). */}}
{{- define "spoor.images.own" -}}
{{- $version := printf ":%s" (.image.tag | default .root.Chart.AppVersion) }}
{{- with .image.digest }}{{ $version = printf "@%s" . }}{{ end }}
{{- include "spoor.image" (dict "root" .root "image" (print .image.repository $version)) -}}
{{- end -}}

{{/* An image's reference, with its registry replaced by `global.imageRegistry` if that is set.
     dict: root, image. */}}
{{- define "spoor.image" -}}
{{- $parts := splitList "/" .image }}
{{- $registry := (.root.Values.global | default dict).imageRegistry }}
{{- if $registry }}
{{- $first := first $parts }}
{{- if and (gt (len $parts) 1) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) }}
{{- $parts = rest $parts }}
{{- end }}
{{- $parts = prepend $parts (trimSuffix "/" $registry) }}
{{- end }}
{{- join "/" $parts -}}
{{- end -}}
