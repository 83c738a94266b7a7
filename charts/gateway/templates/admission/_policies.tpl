{{- /* The second lock needs no server: a dead or removed webhook means "refused", not "let through". */ -}}
{{- define "sidegate.admissionPolicies" -}}
{{- if .Values.secondLock.enabled }}
{{- $owned := include "sidegate.owned" . | nindent 4 }}
{{- $managed := printf "\n    app.kubernetes.io/managed-by: %s" .Release.Service }}
{{ .Files.Get "files/admission-policies.yaml" | replace "\n  annotations:" (printf "\n  annotations:%s" $owned) | replace "\n  labels:" (printf "\n  labels:%s" $managed) }}
{{- $excluded := include "sidegate.excluded" . }}
{{- $resolvers := .Values.injection.resolvers | empty | ternary "sidegate-runtime" "sidegate-injection" }}
{{- $all := printf "{ matchExpressions: [{ key: sidegate.dev/inject, operator: In, values: [all] }, { key: kubernetes.io/metadata.name, operator: NotIn, values: %s }] }" $excluded }}
{{- $others := printf "{ matchExpressions: [{ key: sidegate.dev/inject, operator: NotIn, values: [all] }, { key: kubernetes.io/metadata.name, operator: NotIn, values: %s }] }" $excluded }}
{{- $tier := .Values.injection.tier | eq "locked" | ternary "operator: NotIn, values: [enforced]" "operator: In, values: [locked]" }}
{{- $locked := printf "{ matchExpressions: [{ key: sidegate.dev/inject, operator: In, values: [all] }, { key: sidegate.dev/tier, %s }, { key: kubernetes.io/metadata.name, operator: NotIn, values: %s }] }" $tier $excluded }}
{{- $lockedOthers := printf "{ matchExpressions: [{ key: sidegate.dev/inject, operator: NotIn, values: [all] }, { key: sidegate.dev/tier, %s }, { key: kubernetes.io/metadata.name, operator: NotIn, values: %s }] }" $tier $excluded }}
{{- $anywhere := printf "{ matchExpressions: [{ key: kubernetes.io/metadata.name, operator: NotIn, values: %s }] }" $excluded }}
{{- range $binding := list
  (dict "name" "sidegate-gateway" "policy" "sidegate-gateway" "params" "sidegate-injection" "namespaces" $all)
  (dict "name" "sidegate-runtime" "policy" "sidegate-runtime" "params" "sidegate-runtime" "namespaces" $all)
  (dict "name" "sidegate-runtime-pods" "policy" "sidegate-runtime" "params" "sidegate-runtime" "namespaces" $others "labelled" true)
  (dict "name" "sidegate-resolvers" "policy" "sidegate-resolvers" "params" $resolvers "namespaces" $all)
  (dict "name" "sidegate-resolvers-pods" "policy" "sidegate-resolvers" "params" $resolvers "namespaces" $others "labelled" true)
  (dict "name" "sidegate-gateway-pods" "policy" "sidegate-gateway" "params" "sidegate-injection" "namespaces" $others "labelled" true)
  (dict "name" "sidegate-forbidden" "policy" "sidegate-forbidden" "params" "sidegate-injection" "namespaces" $all)
  (dict "name" "sidegate-forbidden-pods" "policy" "sidegate-forbidden" "params" "sidegate-injection" "namespaces" $others "labelled" true)
  (dict "name" "sidegate-mesh" "policy" "sidegate-mesh" "params" "sidegate-injection" "namespaces" $all)
  (dict "name" "sidegate-mesh-entry" "policy" "sidegate-mesh-entry" "params" "sidegate-injection" "namespaces" $all)
  (dict "name" "sidegate-locked" "policy" "sidegate-locked" "namespaces" $locked)
  (dict "name" "sidegate-locked-pods" "policy" "sidegate-locked" "namespaces" $lockedOthers "labelled" true)
  (dict "name" "sidegate-locked-entry" "policy" "sidegate-locked-entry" "namespaces" $locked)
  (dict "name" "sidegate-audience" "policy" "sidegate-audience" "namespaces" $anywhere)
  (dict "name" "sidegate-updates" "policy" "sidegate-updates" "namespaces" $anywhere)
  (dict "name" "sidegate-bindings" "policy" "sidegate-bindings" "namespaces" $anywhere)
  (dict "name" "sidegate-entry" "policy" "sidegate-entry" "namespaces" $anywhere)
  (dict "name" "sidegate-tokens" "policy" "sidegate-tokens")
  (dict "name" "sidegate-namespaces" "policy" "sidegate-namespaces" "params" "sidegate-injection" "bears" "sidegate.dev/inject")
  (dict "name" "sidegate-namespaces-mode" "policy" "sidegate-namespaces" "params" "sidegate-injection" "bears" "sidegate.dev/mode")
  (dict "name" "sidegate-namespaces-tier" "policy" "sidegate-namespaces" "params" "sidegate-injection" "bears" "sidegate.dev/tier")
  (dict "name" "sidegate-namespace-parts" "policy" "sidegate-namespace-parts")
  (dict "name" "sidegate-freezes" "policy" "sidegate-freezes")
  (dict "name" "sidegate-workloads" "policy" "sidegate-workloads" "params" "sidegate-injection" "namespaces" $all)
  (dict "name" "sidegate-workloads-labelled" "policy" "sidegate-workloads-labelled" "namespaces" $others)
  (dict "name" "sidegate-workloads-unguarded" "policy" "sidegate-workloads-unguarded" "namespaces" $others)
}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $binding.name }}
  labels:
    {{- include "sidegate.labels" $ | nindent 4 }}
  annotations:
    {{- include "sidegate.owned" $ | nindent 4 }}
spec:
  policyName: {{ $binding.policy }}
  validationActions: [Deny]
  {{- if $binding.params }}
  paramRef: { name: {{ $binding.params }}, namespace: {{ $.Release.Namespace }}, parameterNotFoundAction: Deny }
  {{- end }}
  {{- if $binding.bears }}
  {{- /* Before or after. No other namespace depends on the parameters: without them it could be neither made nor changed. */}}
  matchResources:
    objectSelector: { matchExpressions: [{ key: {{ $binding.bears }}, operator: Exists }] }
  {{- end }}
  {{- if $binding.namespaces }}
  matchResources:
    namespaceSelector: {{ $binding.namespaces }}
    {{- if $binding.labelled }}
    objectSelector: { matchLabels: { sidegate.dev/inject: "true" } }
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* For the controller's rights: policies and bindings by name. A test compares. */}}
{{- define "sidegate.lockNames" -}}
[sidegate-audience, sidegate-bindings, sidegate-entry, sidegate-forbidden, sidegate-forbidden-pods, sidegate-freezes, sidegate-gateway, sidegate-gateway-pods, sidegate-locked, sidegate-locked-entry, sidegate-locked-pods, sidegate-mesh, sidegate-mesh-entry, sidegate-namespace-parts, sidegate-namespaces, sidegate-namespaces-mode, sidegate-namespaces-tier, sidegate-resolvers, sidegate-resolvers-pods, sidegate-runtime, sidegate-runtime-pods, sidegate-tokens, sidegate-updates, sidegate-workloads, sidegate-workloads-labelled, sidegate-workloads-unguarded]
{{- end }}
