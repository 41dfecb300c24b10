{{/* The targets that are scraped at the port `ops`, as a YAML list. */}}
{{- define "spoor.scraped" -}}
{{- $names := list }}
{{- if .Values.operator.enabled }}
{{- $operator := include "spoor.fullname" . }}
{{- $names = list (print $operator "-stacks") (print $operator "-policies") }}
{{- end }}
{{- with .Values.applications }}
{{- if .ab.enabled }}
{{- $names = concat $names (list "service-a" "service-b") }}
{{- end }}
{{- if .wishlist.enabled }}
{{- $names = concat $names (list "gateway" "wishlist") }}
{{- if .wishlist.offers.enabled }}
{{- $names = concat $names (list "offers" "marketplace-attic" "marketplace-bazaar" "marketplace-corner") }}
{{- end }}
{{- end }}
{{- if .bands.enabled }}
{{- $names = concat $names (list "bands" "reviews") }}
{{- end }}
{{- if .tasks.enabled }}
{{- $names = append $names "tasks" }}
{{- end }}
{{- if .vision.enabled }}
{{- $names = concat $names (list "preprocessing" "ensemble" "efficientnetb0" "mobilenetv2") }}
{{- end }}
{{- end }}
{{- toYaml $names -}}
{{- end -}}

{{/* A headless Service whose DNS name lists every pod of a workload, ready or not, for Prometheus. dict: root, name. */}}
{{- define "spoor.ops" -}}
{{- if .root.Values.prometheus.enabled }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}-ops
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "spoor.labels" (dict "root" .root "name" .name "component" "metrics") | nindent 4 }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {{- include "spoor.selector" . | nindent 4 }}
  ports:
  - {name: ops, port: 9464, targetPort: ops, appProtocol: http}
{{- end }}
{{- end -}}
