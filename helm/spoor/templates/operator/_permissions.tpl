{{/*
A ServiceAccount of the operator and its permissions. With `operator.namespaces` the rules apply in these
namespaces only, otherwise in the whole cluster.
dict: root, name (of the account), rules (for the namespaces that are served), clusterRules (for what
belongs to no namespace; may be empty), ownRules (for the release's namespace). Rules are YAML.
*/}}
{{- define "spoor.operator.account" -}}
{{- $labels := include "spoor.labels" (dict "root" .root "name" .name "component" "operator") -}}
{{- $here := .root.Release.Namespace -}}
{{- $outside := include "spoor.outside.name" . -}}
{{- $namespaces := .root.Values.operator.namespaces -}}
{{- $clusterRules := list -}}
{{- if not $namespaces }}{{ $clusterRules = append $clusterRules .rules }}{{ end -}}
{{- with .clusterRules }}{{ $clusterRules = append $clusterRules . }}{{ end -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  namespace: {{ $here }}
  labels: {{- $labels | nindent 4 }}
  {{- include "spoor.account.annotations" .root | nindent 2 }}
{{- $grant := dict "account" .name "accountNamespace" $here "labels" $labels }}
{{- with $clusterRules }}
{{- include "spoor.operator.grant" (merge (dict "name" $outside "kind" "ClusterRole" "rules" (join "\n" .)) $grant) }}
{{- end }}
{{- range $namespaces }}
{{- include "spoor.operator.grant" (merge (dict "name" $outside "kind" "Role" "namespace" . "rules" $.rules) $grant) }}
{{- end }}
{{- include "spoor.operator.grant" (merge (dict "name" .name "kind" "Role" "namespace" $here "rules" .ownRules) $grant) }}
{{- end -}}

{{/* A role and its binding. dict: kind (Role or ClusterRole), name, namespace (of a Role), rules, account,
     accountNamespace, labels. */}}
{{- define "spoor.operator.grant" }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  name: {{ .name | quote }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- .labels | nindent 4 }}
rules:
{{ .rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ .name | quote }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- .labels | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: {{ .kind }}, name: {{ .name | quote }}}
subjects:
- {kind: ServiceAccount, name: {{ .account }}, namespace: {{ .accountNamespace }}}
{{- end -}}
