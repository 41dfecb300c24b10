{{/* The prefix of the names of the operator's objects: the release's name, followed by `nameOverride` or else the
     chart's name, unless it contains that already. */}}
{{- define "spoor.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if contains $name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" (.Release.Name | trunc (int (sub 39 (len $name))) | trimSuffix "-") $name }}
{{- end -}}
{{- end -}}

{{/* The name of an object outside the release's namespace. Neither part can contain a colon, so two
     releases never get the same name, whatever their names and namespaces. dict: root, name. */}}
{{- define "spoor.outside.name" -}}
{{ .root.Release.Namespace }}:{{ .name }}
{{- end -}}

{{/* The TracingStack that the applications export to. */}}
{{- define "spoor.stack" -}}
{{ .Values.applications.stack | default .Values.stack.name }}
{{- end -}}

{{/* The labels that select the pods of a workload. dict: root, name. */}}
{{- define "spoor.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{/* dict: root, name, component. */}}
{{- define "spoor.labels" -}}
{{ include "spoor.selector" . }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: spoor
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* The annotations of a ServiceAccount, as a member of its metadata; nothing if there are none. */}}
{{- define "spoor.account.annotations" -}}
{{- with (include "spoor.yaml" .Values.serviceAccount | fromYaml).annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The base path of Jaeger, without a trailing slash. */}}
{{- define "spoor.query.path" -}}
{{- $jaeger := (include "spoor.yaml" .Values.stack.spec | fromYaml).jaeger | default dict }}
{{- $jaeger.basePath | default "" | trimSuffix "/" -}}
{{- end -}}

{{/* The address of Jaeger: the stack's own, or an existing one. */}}
{{- define "spoor.query.url" -}}
{{- $jaeger := (include "spoor.yaml" .Values.stack.spec | fromYaml).jaeger | default dict }}
{{- $address := dig "existing" "query" "" $jaeger | default (printf "%s-query:16686" (include "spoor.stack" .)) }}
{{- printf "http://%s%s" $address (include "spoor.query.path" .) -}}
{{- end -}}
