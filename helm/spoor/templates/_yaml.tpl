{{/*
A map of the values as YAML, without its nulls. Helm removes a null only where it replaces a default of the
chart: after `--set …memory=null`, a later `--reuse-values` passes the null to the templates.
*/}}
{{- define "spoor.yaml" -}}
{{- $copy := deepCopy (. | default dict) }}
{{- include "spoor.drop.nulls" $copy }}
{{- toYaml $copy }}
{{- end -}}

{{/* Removes nulls from a map, at any depth. */}}
{{- define "spoor.drop.nulls" -}}
{{- $map := . }}
{{- range $key, $value := . }}
{{- if kindIs "invalid" $value }}
{{- $_ := unset $map $key }}
{{- else if kindIs "map" $value }}
{{- include "spoor.drop.nulls" $value }}
{{- else if kindIs "slice" $value }}
{{- range $value }}
{{- if kindIs "map" . }}{{ include "spoor.drop.nulls" . }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
