{{/* The annotations of a hook that runs before the release's own objects are applied, in the order of its
     weight, and is deleted once it has succeeded. */}}
{{- define "spoor.crds.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
