{{- /*
No caBundle stands here: the controller writes it (certificates.managed), or your own tooling does. Until it is there every call
fails, and a pod that has opted in is refused; nobody else is asked at all. Exempt pods are asked about too: the webhook has a clock, and
these conditions have none.
*/ -}}
{{- define "sidegate.client" -}}
service: { name: sidegate-webhook, namespace: {{ .root.Release.Namespace }}, path: {{ .path }}, port: 443 }
{{- end }}
{{- /* (dict "root" . "name" … "inject" "In"): never a refusal; the admission policies refuse what was not stamped. */ -}}
{{- define "sidegate.workloadWebhook" }}
  - name: {{ .name }}.stamp.sidegate.dev
    clientConfig:
      {{- include "sidegate.client" (dict "root" .root "path" "/workloads") | nindent 6 }}
    rules:
      - apiGroups: [apps]
        apiVersions: [v1]
        operations: [CREATE, UPDATE]
        resources: [deployments, statefulsets, daemonsets, replicasets]
        scope: Namespaced
      - { apiGroups: [batch], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [jobs, cronjobs], scope: Namespaced }
    namespaceSelector:
      matchExpressions:
        - { key: sidegate.dev/inject, operator: {{ .inject }}, values: [all] }
        - { key: kubernetes.io/metadata.name, operator: NotIn, values: {{ include "sidegate.excluded" .root }} }
    matchConditions:
      # Controllers copy what others wrote; scaling and statuses say nothing about people.
      - { name: not-by-controllers, expression: "!(request.userInfo.username in ['system:serviceaccount:kube-system:deployment-controller', 'system:serviceaccount:kube-system:cronjob-controller', 'system:serviceaccount:kube-system:replicaset-controller', 'system:serviceaccount:kube-system:replication-controller', 'system:serviceaccount:kube-system:statefulset-controller', 'system:serviceaccount:kube-system:daemon-set-controller', 'system:serviceaccount:kube-system:job-controller', 'system:kube-controller-manager'])" }
      - name: made-or-rewritten
        expression: >-
          request.operation == "CREATE" || object.spec.?template != oldObject.spec.?template || object.spec.?jobTemplate != oldObject.spec.?jobTemplate
          || ["creator", "template-writer", "owner"].exists(n, object.metadata.?annotations[?("sidegate.dev/" + n)] != oldObject.metadata.?annotations[?("sidegate.dev/" + n)])
      {{- if eq .inject "NotIn" }}
      # Or bears stamps, which are taken away: nobody would know whose they are once the namespace opts in.
      - name: asks-for-the-gateway
        expression: >-
          [object.spec.?template.?metadata.?labels.orValue({}), object.spec.?jobTemplate.?spec.?template.?metadata.?labels.orValue({})]
          .exists(l, l[?"sidegate.dev/inject"].orValue("") == "true")
          || ["creator", "template-writer"].exists(n, object.metadata.?annotations[?("sidegate.dev/" + n)].hasValue())
      {{- end }}
    failurePolicy: Ignore
    matchPolicy: Equivalent
    sideEffects: None
    timeoutSeconds: 2
    admissionReviewVersions: [v1]
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
  {{- include "sidegate.workloadWebhook" (dict "root" . "name" "workloads" "inject" "In") }}
  {{- include "sidegate.workloadWebhook" (dict "root" . "name" "labelled-workloads" "inject" "NotIn") }}
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
