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
{{- with include "spoor.yaml" .Values.operator.tracing | fromYaml }}
{{- if .enabled }}
{{- /* Not with `default`, which always evaluates its argument, and with it the call to `fail`. */}}
{{- $endpoint := .endpoint }}
{{- if not $endpoint }}{{ $endpoint = include "spoor.operator.tracing.endpoint" $ }}{{ end }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ $endpoint | quote }}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: service.namespace=$(SPOOR_NAMESPACE),k8s.namespace.name=$(SPOOR_NAMESPACE),k8s.pod.name=$(SPOOR_POD_NAME)
- {name: OTEL_TRACES_SAMPLER, value: parentbased_traceidratio}
{{- /* `default` would replace a probability of 0. */}}
- {name: OTEL_TRACES_SAMPLER_ARG, value: {{ hasKey . "probability" | ternary .probability 1 | quote }}}
{{- end }}
{{- end }}
{{- end -}}

{{/* The OTLP Service of the stack, in the release's namespace. Its NetworkPolicies admit this namespace's pods. */}}
{{- define "spoor.operator.tracing.endpoint" -}}
{{- if not (or .Values.stack.enabled .Values.applications.stack) }}
{{- fail "operator.tracing.enabled needs a stack to send traces to; set stack.enabled=true, or operator.tracing.endpoint" }}
{{- end }}
{{- printf "http://%s-otlp:4317" (include "spoor.stack" .) -}}
{{- end -}}

{{/* The additional environment of the `stacks` role. */}}
{{- define "spoor.operator.stacks.env" -}}
- {name: SPOOR_POLICIES_SERVICE, value: {{ include "spoor.fullname" . }}-policies}
- {name: SPOOR_CLUSTER_DOMAIN, value: {{ .Values.operator.clusterDomain }}}
{{- with (.Values.global | default dict).imageRegistry }}
- {name: SPOOR_IMAGE_REGISTRY, value: {{ . | quote }}}
{{- end }}
# The samplers of stacks run in the image of the applications.
- {name: SPOOR_SAMPLER_IMAGE, value: {{ include "spoor.images.applications" . | trim | quote }}}
- {name: SPOOR_SAMPLER_IMAGE_PULL_POLICY, value: {{ .Values.images.pullPolicy }}}
# If the chart sets no user ID, the platform assigns one, and does so for the pods of stacks, too.
- name: SPOOR_POD_USER_IDS
  value: {{ kindIs "invalid" (.Values.securityContext | default dict).runAsUser | ternary "assigned" "image" }}
{{- end -}}
