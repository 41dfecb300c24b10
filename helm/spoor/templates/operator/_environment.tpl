{{/* What both roles are told. */}}
{{- define "spoor.operator.env" -}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- {name: SPOOR_POLICIES_SERVICE, value: {{ include "spoor.fullname" . }}-policies}
- {name: SPOOR_LOG_FORMAT, value: json}
- {name: RUST_LOG, value: {{ .Values.operator.logFilter | quote }}}
{{- end -}}
