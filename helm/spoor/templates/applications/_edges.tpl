{{/*
The edges that are installed, as a YAML list: the page that the notes name, and the request of `helm test` with
the services that its trace must include.
*/}}
{{- define "spoor.edges" -}}
{{- with .Values.applications }}
{{- if .wishlist.enabled }}
- name: gateway
  port: 8081
  title: The wishlist
  about: ", with Jaeger under /jaeger and a map of the services under /docs"
  test: {name: wishlist, path: /api/wishes, expect: "gateway,wishlist"}
{{- end }}
{{- if .ab.enabled }}
- name: service-a
  port: 8080
  title: A request from service-a to service-b
  test: {name: request, path: /, expect: "service-a,service-b"}
{{- end }}
{{- if .bands.enabled }}
- name: bands
  port: 8082
  title: Bands and their reviews
  page: /bands
  test: {name: bands, path: /bands/3f2b8c1e-5d6a-4f7b-9c8d-1e2f3a4b5c6d, expect: "bands,reviews"}
{{- end }}
{{- if .tasks.enabled }}
- name: tasks
  port: 8083
  title: Tasks
  page: /tasks
  test: {name: tasks, path: /tasks, expect: tasks}
{{- end }}
{{- if .vision.enabled }}
- name: preprocessing
  port: 8084
  title: Image classification
{{- end }}
{{- end }}
{{- end -}}

{{/* The addresses that a scenario sends to, as a value of `spoor load --url`. dict: root, scenario. */}}
{{- define "spoor.load.urls" -}}
{{- $urls := list }}
{{- if eq .scenario "mesh" }}
{{- range include "spoor.edges" .root | fromYamlArray }}
{{- $urls = append $urls (printf "%s=http://%s:%v" .name .name .port) }}
{{- end }}
{{- else if eq .scenario "images" }}
{{- $urls = list "preprocessing=http://preprocessing:8084" }}
{{- else }}
{{- $urls = list "service-a=http://service-a:8080" }}
{{- end }}
{{- join "," $urls -}}
{{- end -}}
