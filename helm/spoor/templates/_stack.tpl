{{/* The spec of the chart's TracingStack as YAML: the values, with the default storage unless one is
     chosen, and with the additions to all pods of the release. */}}
{{- define "spoor.stack.spec" -}}
{{- $spec := include "spoor.yaml" .Values.stack.spec | fromYaml }}
{{- $jaeger := $spec.jaeger | default dict }}
{{- if $jaeger.existing }}
{{- /* `existing` allows no other field. The path then only tells the gateway where Jaeger is. */}}
{{- $_ := unset $jaeger "basePath" }}
{{- if not $jaeger.storage }}{{ $_ := unset $jaeger "storage" }}{{ end }}
{{- else }}
{{- $storage := dict }}
{{- range $kind, $settings := $jaeger.storage }}
{{- if kindIs "map" $settings }}{{ $_ := set $storage $kind $settings }}{{ end }}
{{- end }}
{{- if gt (len $storage) 1 }}
{{- fail (printf "stack.spec.jaeger.storage names %s; choose one and set the others to false" (keys $storage | sortAlpha | join " and ")) }}
{{- end }}
{{- if not $storage }}
{{- $storage = dict "memory" (dict "maxTraces" 50000) }}
{{- end }}
{{- $_ := set $jaeger "storage" $storage }}
{{- $_ := set $spec "jaeger" $jaeger }}
{{- end }}
{{- $parts := list "jaeger" "collector" }}
{{- $collector := $spec.collector | default dict }}
{{- $sampler := $spec.sampler | default dict }}
{{- /* An existing Collector has a sampler only with `kept`, and a Collector's own sampler has no pods of
       its own. */}}
{{- $existing := $collector.existing | default dict }}
{{- if and (or (not $existing) $existing.kept) (ne ($sampler.engine | default "Spoor") "OpenTelemetry") }}
{{- $parts = append $parts "sampler" }}
{{- end }}
{{- range $parts }}
{{- $name := . }}
{{- $part := index $spec $name | default dict }}
{{- if not $part.existing }}
{{- with include "spoor.stack.pod" (dict "root" $ "pod" $part.pod) | fromYaml }}
{{- $_ := set $part "pod" . }}
{{- $_ := set $spec $name $part }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $spec }}
{{- end -}}

{{/* The additions to pods of the stack. dict: root, pod (as the stack's values have it). */}}
{{- define "spoor.stack.pod" -}}
{{- $all := include "spoor.yaml" .root.Values.pods | fromYaml }}
{{- $pod := .pod | default dict }}
{{- $merged := merge (pick $pod "annotations" "labels" | deepCopy) (pick $all "annotations" "labels") }}
{{- $names := list }}
{{- range $pod.env }}{{ $names = append $names .name }}{{ end }}
{{- $env := $pod.env | default list }}
{{- range $all.env }}
{{- if not (has .name $names) }}{{ $env = append $env . }}{{ end }}
{{- end }}
{{- with $env }}{{ $_ := set $merged "env" . }}{{ end }}
{{- with $pod.imagePullSecrets | default $.root.Values.images.pullSecrets }}
{{- $_ := set $merged "imagePullSecrets" . }}
{{- end }}
{{- range $field, $value := $merged }}
{{- if not $value }}{{ $_ := unset $merged $field }}{{ end }}
{{- end }}
{{- toYaml $merged }}
{{- end -}}
