{{- /*
No caBundle stands here: the controller writes it (certificates.managed), or your own tooling does. Until it is there every call
fails, and a pod that has opted in is refused; nobody else is asked at all. Exempt pods are asked about too: the webhook has a clock, and
these conditions have none.
*/ -}}
{{- define "sidegate.client" -}}
service: { name: sidegate-webhook, namespace: {{ .root.Release.Namespace }}, path: {{ .path }}, port: 443 }
{{- end }}
{{- define "sidegate.webhookConfigurations" -}}
{{- $excluded := include "sidegate.excluded" . -}}
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: sidegate
  labels:
    {{- include "sidegate.labels" . | nindent 4 }}
  annotations:
    {{- include "sidegate.owned" . | nindent 4 }}
webhooks:
  - name: namespaces.inject.sidegate.dev
    clientConfig:
      {{- include "sidegate.client" (dict "root" . "path" "/mutate") | nindent 6 }}
    rules: [{ apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods], scope: Namespaced }]
    namespaceSelector:
      matchExpressions:
        - { key: sidegate.dev/inject, operator: In, values: [all] }
        - { key: kubernetes.io/metadata.name, operator: NotIn, values: {{ $excluded }} }
    matchConditions:
      - { name: a-pod, expression: "request.kind.kind == 'Pod'" }
    failurePolicy: Fail
    reinvocationPolicy: IfNeeded
    matchPolicy: Equivalent
    sideEffects: NoneOnDryRun
    timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
    admissionReviewVersions: [v1]
  - name: pods.inject.sidegate.dev
    clientConfig:
      {{- include "sidegate.client" (dict "root" . "path" "/mutate") | nindent 6 }}
    rules: [{ apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods], scope: Namespaced }]
    namespaceSelector:
      matchExpressions:
        - { key: sidegate.dev/inject, operator: NotIn, values: [all] }
        - { key: kubernetes.io/metadata.name, operator: NotIn, values: {{ $excluded }} }
    objectSelector: { matchLabels: { sidegate.dev/inject: "true" } }
    matchConditions:
      - { name: a-pod, expression: "request.kind.kind == 'Pod'" }
    failurePolicy: Fail
    reinvocationPolicy: IfNeeded
    matchPolicy: Equivalent
    sideEffects: NoneOnDryRun
    timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
    admissionReviewVersions: [v1]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: sidegate
  labels:
    {{- include "sidegate.labels" . | nindent 4 }}
  annotations:
    {{- include "sidegate.owned" . | nindent 4 }}
webhooks:
  - name: namespaces.validate.sidegate.dev
    clientConfig:
      {{- include "sidegate.client" (dict "root" . "path" "/validate") | nindent 6 }}
    rules: [{ apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods], scope: Namespaced }]
    namespaceSelector:
      matchExpressions:
        - { key: sidegate.dev/inject, operator: In, values: [all] }
        - { key: kubernetes.io/metadata.name, operator: NotIn, values: {{ $excluded }} }
    matchConditions:
      - { name: a-pod, expression: "request.kind.kind == 'Pod'" }
    failurePolicy: Fail
    matchPolicy: Equivalent
    sideEffects: None
    timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
    admissionReviewVersions: [v1]
  - name: pods.validate.sidegate.dev
    clientConfig:
      {{- include "sidegate.client" (dict "root" . "path" "/validate") | nindent 6 }}
    rules: [{ apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods], scope: Namespaced }]
    namespaceSelector:
      matchExpressions:
        - { key: sidegate.dev/inject, operator: NotIn, values: [all] }
        - { key: kubernetes.io/metadata.name, operator: NotIn, values: {{ $excluded }} }
    objectSelector: { matchLabels: { sidegate.dev/inject: "true" } }
    matchConditions:
      - { name: a-pod, expression: "request.kind.kind == 'Pod'" }
    failurePolicy: Fail
    matchPolicy: Equivalent
    sideEffects: None
    timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
    admissionReviewVersions: [v1]
  {{- if .Values.certificates.managed }}
  # A wrong policy is refused with its line. The chart's own one is not asked about: it comes before anybody answers.
  - name: policies.validate.sidegate.dev
    clientConfig:
      {{- include "sidegate.client" (dict "root" . "path" "/policies") | nindent 6 }}
    rules:
      - apiGroups: [sidegate.dev]
        apiVersions: [v1alpha1]
        operations: [CREATE, UPDATE]
        resources: [agentpolicies, clusteragentpolicies, egresstargets]
        scope: "*"
    matchConditions:
      - { name: not-ours, expression: "!(request.kind.kind == 'ClusterAgentPolicy' && request.name == 'targets')" }
      - { name: not-being-deleted, expression: "!has(object.metadata.deletionTimestamp)" }
    failurePolicy: Fail
    matchPolicy: Equivalent
    sideEffects: None
    timeoutSeconds: 10
    admissionReviewVersions: [v1]
  {{- end }}
{{- end }}
