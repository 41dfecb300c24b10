{{/* The addresses that a scenario sends to, as arguments of `spoor load`. dict: root, scenario. */}}
{{- define "spoor.edges" -}}
{{- $edges := list "service-a=http://service-a:8080" }}
{{- if eq .scenario "images" }}
{{- $edges = list "preprocessing=http://preprocessing:8084" }}
{{- else if eq .scenario "mesh" }}
{{- with .root.Values.applications }}
{{- if not .ab.enabled }}{{ $edges = list }}{{ end }}
{{- if .wishlist.enabled }}{{ $edges = append $edges "gateway=http://gateway:8081" }}{{ end }}
{{- if .bands.enabled }}{{ $edges = append $edges "bands=http://bands:8082" }}{{ end }}
{{- if .tasks.enabled }}{{ $edges = append $edges "tasks=http://tasks:8083" }}{{ end }}
{{- if .vision.enabled }}{{ $edges = append $edges "preprocessing=http://preprocessing:8084" }}{{ end }}
{{- end }}
{{- end }}
{{- join "," $edges -}}
{{- end -}}
