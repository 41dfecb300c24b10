{{/* Not empty if an object of a kind of the Prometheus Operator is enabled, and its definition exists.
     dict: root, kind. */}}
{{- define "spoor.monitoring.created" -}}
{{- $has := .root.Capabilities.APIVersions.Has (print "monitoring.coreos.com/v1/" .kind) }}
{{- if and (include "spoor.monitoring.enabled" . | eq "true") $has }}true{{ end }}
{{- end -}}

{{/* dict: root, kind. */}}
{{- define "spoor.monitoring.enabled" -}}
{{- dig (untitle .kind) "enabled" false (.root.Values.monitoring | default dict) -}}
{{- end -}}

{{/* dict: root, name, component. */}}
{{- define "spoor.monitoring.labels" -}}
{{- $own := include "spoor.labels" . | fromYaml }}
{{- merge $own (include "spoor.yaml" .root.Values.monitoring.labels | fromYaml) | toYaml -}}
{{- end -}}

{{/* The files with the alerts about what is installed, as a YAML list. */}}
{{- define "spoor.alerts" -}}
{{- if .Values.operator.enabled }}
- monitoring/alerts-operator.yaml
{{- end }}
- monitoring/alerts-spans.yaml
{{- end -}}
