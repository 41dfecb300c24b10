{{/* What both roles are told. */}}
{{- define "spoor.operator.env" -}}
- name: SPOOR_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: SPOOR_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
# Whose the served namespaces are: no other release in this namespace has this name.
- {name: SPOOR_INSTALLATION, value: {{ include "spoor.fullname" . }}}
# The namespaces that the operator serves; empty: all of them.
- {name: SPOOR_NAMESPACES, value: {{ join "," .Values.operator.namespaces | quote }}}
- {name: SPOOR_LOG, value: {{ .Values.operator.logFilter | quote }}}
- {name: SPOOR_LOG_FORMAT, value: json}
# An arena of the allocator for each thread would hold some megabytes that nobody uses.
- {name: MALLOC_ARENA_MAX, value: "1"}
{{- end -}}

{{/* What the role `stacks` is told besides. */}}
{{- define "spoor.operator.stacks.env" -}}
- {name: SPOOR_POLICIES_SERVICE, value: {{ include "spoor.fullname" . }}-policies}
- {name: SPOOR_CLUSTER_DOMAIN, value: {{ .Values.operator.clusterDomain }}}
{{- with (.Values.global | default dict).imageRegistry }}
- {name: SPOOR_IMAGE_REGISTRY, value: {{ . | quote }}}
{{- end }}
# Without a user of its own the chart leaves the choice to the platform; so do the pods of stacks.
- name: SPOOR_POD_USER_IDS
  value: {{ kindIs "invalid" (.Values.securityContext | default dict).runAsUser | ternary "assigned" "image" }}
{{- end -}}
