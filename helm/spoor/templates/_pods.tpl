{{/* What every pod and container of the chart may do: the restricted Pod Security Standard, and a
     root file system that can't be written. */}}
{{- define "spoor.pod.security" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

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

{{/* Both probes, on the port `ops`. */}}
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

{{/* nodeSelector, tolerations and the like, as they are in a pod. */}}
{{- define "spoor.scheduling" -}}
{{- with include "spoor.yaml" . | fromYaml }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A variable's source, a Secret's key: secretName, key. */}}
{{- define "spoor.secret" -}}
secretKeyRef: {name: {{ .secretName }}, key: {{ .key }}}
{{- end -}}
