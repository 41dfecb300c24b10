{{/* A hook before the release's own objects, in the order of the weight. It is deleted once it has succeeded. */}}
{{- define "spoor.crds.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
