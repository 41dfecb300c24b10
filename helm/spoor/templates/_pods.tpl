{{/* The security context of every pod, for the restricted Pod Security Standard. */}}
{{- define "spoor.pod.security" -}}
runAsNonRoot: true
{{- range $field, $id := .Values.securityContext }}
{{- if not (kindIs "invalid" $id) }}
{{ $field }}: {{ $id | int64 }}
{{- end }}
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* A pod's labels and annotations: those of `pods`, overridden by the workload's `pod`, overridden by the chart's.
     dict: root, pod, labels (YAML), annotations (YAML; may be missing). */}}
{{- define "spoor.pod.metadata" -}}
{{- $all := include "spoor.yaml" .root.Values.pods | fromYaml }}
{{- $pod := include "spoor.yaml" .pod | fromYaml }}
{{- $labels := merge (fromYaml .labels) ($pod.labels | default dict) ($all.labels | default dict) }}
{{- $own := .annotations | default "" | fromYaml }}
{{- $annotations := merge $own ($pod.annotations | default dict) ($all.annotations | default dict) -}}
labels: {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The variables of a container: the chart's, then `pods`, then the workload's own `pod`. A later one
     replaces an earlier one of the same name: server-side apply refuses duplicate names.
     dict: root, pod, own (a list in YAML). */}}
{{- define "spoor.env" -}}
{{- $all := include "spoor.yaml" .root.Values.pods | fromYaml }}
{{- $pod := include "spoor.yaml" .pod | fromYaml }}
{{- $variables := list }}
{{- $names := list }}
{{- range $variable := concat (.own | default "" | fromYamlArray) ($all.env | default list) ($pod.env | default list) | reverse }}
{{- if not (has $variable.name $names) }}
{{- $names = append $names $variable.name }}
{{- $variables = prepend $variables $variable }}
{{- end }}
{{- end }}
{{- with $variables }}
env: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{/* The security context of every container, for the restricted standard and with a read-only root file system. */}}
{{- define "spoor.container.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "spoor.pull.secrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The probes, on the port `ops`. */}}
{{- define "spoor.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: ops}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: ops}
  periodSeconds: 10
  timeoutSeconds: 3
readinessProbe:
  httpGet: {path: /readyz, port: ops}
  periodSeconds: 2
  timeoutSeconds: 2
{{- end -}}

{{/* nodeSelector, tolerations and other scheduling fields of a pod. */}}
{{- define "spoor.scheduling" -}}
{{- with include "spoor.yaml" . | fromYaml }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The source of a variable, a key of a Secret: secretName, key. */}}
{{- define "spoor.secret" -}}
secretKeyRef: {name: {{ .secretName }}, key: {{ .key }}}
{{- end -}}
