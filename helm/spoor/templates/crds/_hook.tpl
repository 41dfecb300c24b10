{{/* Runs before the release's objects are applied, ordered by weight, and is deleted once it succeeds. */}}
{{- define "spoor.crds.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
