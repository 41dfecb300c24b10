{{/* The environment of both roles. */}}
{{- define "spoor.operator.env" -}}
- name: SPOOR_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: SPOOR_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
# The identity that claims the served namespaces. No other release in this namespace has this name.
- {name: SPOOR_INSTALLATION, value: {{ include "spoor.fullname" . }}}
# The namespaces that the operator serves; if empty, all.
- {name: SPOOR_NAMESPACES, value: {{ join "," .Values.operator.namespaces | quote }}}
- {name: SPOOR_LOG, value: {{ .Values.operator.logFilter | quote }}}
- {name: SPOOR_LOG_FORMAT, value: json}
# One allocator arena per thread would hold some megabytes of unused memory.
- {name: MALLOC_ARENA_MAX, value: "1"}
{{- end -}}

{{/* The additional environment of the `stacks` role. */}}
{{- define "spoor.operator.stacks.env" -}}
- {name: SPOOR_POLICIES_SERVICE, value: {{ include "spoor.fullname" . }}-policies}
- {name: SPOOR_CLUSTER_DOMAIN, value: {{ .Values.operator.clusterDomain }}}
{{- with (.Values.global | default dict).imageRegistry }}
- {name: SPOOR_IMAGE_REGISTRY, value: {{ . | quote }}}
{{- end }}
# Without a user ID the chart lets the platform assign one, and so do the pods of stacks.
- name: SPOOR_POD_USER_IDS
  value: {{ kindIs "invalid" (.Values.securityContext | default dict).runAsUser | ternary "assigned" "image" }}
{{- end -}}
