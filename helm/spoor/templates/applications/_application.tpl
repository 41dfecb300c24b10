{{/*
One service of an application: its ServiceAccount, Deployment, Service, NetworkPolicy and disruption budget.
dict: root, name, values, port, protocol (http or grpc), callers (the services that may call it; with an empty
list, none may; without a list, it is an edge and all clients may), env (list of EnvVar), writable (a writable
folder), mounted (a volume mounted read-only: source, path).
*/}}
{{- define "spoor.application" -}}
{{- $stack := include "spoor.stack" .root -}}
{{- $labels := dict "root" .root "name" .name "component" "application" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "spoor.labels" $labels | nindent 4 }}
  {{- include "spoor.account.annotations" .root | nindent 2 }}
automountServiceAccountToken: false
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "spoor.labels" $labels | nindent 4 }}
spec:
  replicas: {{ .values.replicas }}
  selector:
    matchLabels: {{- include "spoor.selector" $labels | nindent 6 }}
  template:
    metadata: {{- include "spoor.pod.metadata" (dict "root" .root "pod" .values.pod "labels" (print (include "spoor.labels" $labels) "\nspoor.dev/service: " .name)) | nindent 6 }}
    spec:
      serviceAccountName: {{ .name }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext: {{- include "spoor.pod.security" .root | nindent 8 }}
      {{- include "spoor.pull.secrets" .root | nindent 6 }}
      {{- include "spoor.scheduling" .values.scheduling | nindent 6 }}
      containers:
      - name: {{ .name }}
        image: {{ include "spoor.images.applications" .root }}
        imagePullPolicy: {{ .root.Values.images.pullPolicy }}
        args: [run, {{ .name }}]
        ports:
        - {name: {{ .protocol }}, containerPort: {{ .port }}}
        - {name: ops, containerPort: 9464}
        # The operator creates this ConfigMap for the TracingStack. The pod starts once it exists.
        envFrom:
        - configMapRef: {name: {{ $stack }}-otel-env}
        {{- include "spoor.env" (dict "root" .root "pod" .values.pod "own" (include "spoor.application.env" .)) | nindent 8 }}
        {{- include "spoor.probes" .root | nindent 8 }}
        lifecycle:
          # During this time the pod's endpoint is removed, so that no client connects to a closing port.
          preStop: {sleep: {seconds: 3}}
        resources: {{- include "spoor.yaml" .values.resources | nindent 10 }}
        securityContext: {{- include "spoor.container.security" .root | nindent 10 }}
        volumeMounts:
        - {name: token, mountPath: /var/run/secrets/spoor.dev, readOnly: true}
        - {name: ca, mountPath: /etc/spoor/ca, readOnly: true}
        {{- with .writable }}
        - {name: data, mountPath: {{ . }}}
        {{- end }}
        {{- with .mounted }}
        - {name: mounted, mountPath: {{ .path }}, readOnly: true}
        {{- end }}
      volumes:
      # The identity of the pod, for the control plane only.
      - name: token
        projected:
          sources:
          - serviceAccountToken: {audience: spoor.dev, path: token, expirationSeconds: 3600}
      - name: ca
        configMap: {name: {{ $stack }}-ca}
      {{- if .writable }}
      - name: data
        emptyDir: {sizeLimit: 256Mi}
      {{- end }}
      {{- with .mounted }}
      - name: mounted
        {{- include "spoor.yaml" .source | nindent 8 }}
      {{- end }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "spoor.labels" $labels | nindent 4 }}
spec:
  selector: {{- include "spoor.selector" $labels | nindent 4 }}
  ports:
  - name: {{ .protocol }}
    port: {{ .port }}
    targetPort: {{ .protocol }}
    appProtocol: {{ eq .protocol "grpc" | ternary "kubernetes.io/h2c" "http" }}
{{- include "spoor.ops" . }}
{{- if gt (int .values.replicas) 1 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "spoor.labels" $labels | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "spoor.selector" $labels | nindent 6 }}
{{- end }}
{{- if .root.Values.networkPolicies.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "spoor.labels" $labels | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "spoor.selector" $labels | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
  - ports: [{port: ops}]
  {{- /* An empty `from` would admit all clients. */}}
  {{- if or .callers (not (hasKey . "callers")) }}
  - ports: [{port: {{ .protocol }}}]
    {{- if .callers }}
    from:
    {{- range .callers }}
    - podSelector:
        matchLabels: {{- include "spoor.selector" (dict "root" $.root "name" .) | nindent 10 }}
    {{- end }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The variables of every service, and those of this one. */}}
{{- define "spoor.application.env" -}}
- {name: SPOOR_LISTEN, value: "0.0.0.0:{{ .port }}"}
- {name: SPOOR_OPS_LISTEN, value: "0.0.0.0:9464"}
- {name: SPOOR_LOG_FORMAT, value: json}
- {name: RUST_LOG, value: {{ .root.Values.applications.logFilter | quote }}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- {name: OTEL_SERVICE_NAME, value: {{ .name }}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: service.namespace=$(POD_NAMESPACE),service.instance.id=$(POD_NAME),service.version={{ .root.Chart.AppVersion }},k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME)
- {name: SPOOR_CONTROL_TOKEN_FILE, value: /var/run/secrets/spoor.dev/token}
- {name: SPOOR_CONTROL_CA_FILE, value: /etc/spoor/ca/ca.crt}
{{- if and (not (hasKey . "callers")) .root.Values.applications.trustedPeers }}
- {name: SPOOR_TRUSTED_PEERS, value: {{ .root.Values.applications.trustedPeers | quote }}}
{{- end }}
{{- with .env }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}
