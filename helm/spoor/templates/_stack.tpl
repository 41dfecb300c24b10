{{/* What the chart's TracingStack asks for, as YAML: the values, with the storage that holds unless one
     is chosen. */}}
{{- define "spoor.stack.spec" -}}
{{- $spec := include "spoor.yaml" .Values.stack.spec | fromYaml }}
{{- $jaeger := $spec.jaeger | default dict }}
{{- if $jaeger.existing }}
{{- /* The path is then the other Jaeger's affair, and here only where the gateway finds it. */}}
{{- $_ := unset $jaeger "basePath" }}
{{- else }}
{{- $storage := dict }}
{{- range $kind, $settings := $jaeger.storage }}
{{- if kindIs "map" $settings }}{{ $_ := set $storage $kind $settings }}{{ end }}
{{- end }}
{{- if gt (len $storage) 1 }}
{{- fail (printf "stack.spec.jaeger.storage: names %s; choose one and set the others to false" (keys $storage | sortAlpha | join " and ")) }}
{{- end }}
{{- if not $storage }}
{{- $storage = dict "memory" (dict "maxTraces" 50000) }}
{{- end }}
{{- $_ := set $jaeger "storage" $storage }}
{{- $_ := set $spec "jaeger" $jaeger }}
{{- end }}
{{- toYaml $spec }}
{{- end -}}
