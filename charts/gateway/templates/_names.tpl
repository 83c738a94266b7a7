{{/* Names are fixed: a cluster has one gateway, and its webhook configurations and policies belong to the cluster. */}}
{{- define "sidegate.labels" -}}
app.kubernetes.io/name: sidegate
app.kubernetes.io/part-of: sidegate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* (dict "component" "webhook") */}}
{{- define "sidegate.selector" -}}
app.kubernetes.io/name: sidegate
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* (dict "root" $ "image" .Values.images.proxy "what" "proxy") */}}
{{- define "sidegate.image" -}}
{{- $images := .root.Values.images -}}
{{- $name := .image.repository -}}
{{- if $images.registry }}{{ $name = printf "%s/%s" $images.registry $name }}{{ end -}}
{{- if .image.digest -}}
{{ $name }}@{{ .image.digest }}
{{- else if $images.allowTags -}}
{{ $name }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- else -}}
{{- fail (printf "images.%s.digest: name the image by its digest (sha256:…), or set images.allowTags: true for a trial" .what) -}}
{{- end -}}
{{- end }}

{{- define "sidegate.collectorHost" -}}
sidegate-collector.{{ .Release.Namespace }}.svc.{{ .Values.cluster.domain }}
{{- end }}

{{- define "sidegate.bundleUrl" -}}
{{- if not .Values.bundle.configMap -}}
https://sidegate-controller.{{ .Release.Namespace }}.svc.{{ .Values.cluster.domain }}:8443/bundles/pod.tar.gz
{{- end -}}
{{- end }}

{{- define "sidegate.tokenIssuer" -}}
{{ .Values.cluster.tokenIssuer | default (printf "https://kubernetes.default.svc.%s" .Values.cluster.domain) }}
{{- end }}

{{/* For the controller's rights. A test compares with crds/. */}}
{{- define "sidegate.definitionNames" -}}
[agentpolicies.sidegate.dev, clusteragentpolicies.sidegate.dev, egresstargets.sidegate.dev, freezes.sidegate.dev]
{{- end }}

{{/* Namespaces that never wait for us. */}}
{{- define "sidegate.excluded" -}}
{{- concat (list "kube-system" "kube-public" "kube-node-lease" .Release.Namespace) .Values.excludedNamespaces | uniq | toJson -}}
{{- end }}

{{/* What every pod of ours has in common: not root, nothing writable, no capability. */}}
{{- define "sidegate.podSecurity" -}}
runAsNonRoot: true
{{- if not .Values.openshift.enabled }}
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
{{- end }}
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "sidegate.containerSecurity" -}}
{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
{{- end }}

{{/* (dict "root" $ "component" "webhook"): the lower part of a pod's spec. */}}
{{- define "sidegate.placement" -}}
priorityClassName: {{ .root.Values.priorityClassName | quote }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
nodeSelector:
  kubernetes.io/os: linux
  {{- with .root.Values.nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        # What the images are built for.
        - matchExpressions: [{ key: kubernetes.io/arch, operator: In, values: [amd64, arm64] }]
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "sidegate.selector" . | nindent 14 }}
{{- end }}

{{- define "sidegate.node" -}}
[/usr/local/bin/node, --disable-sigusr1, --disable-warning=ExperimentalWarning, /app/dist/{{ . }}.js]
{{- end }}

{{/* namespace/serviceAccount, one a line */}}
{{- define "sidegate.exemptions" -}}
{{- $lines := list -}}
{{- range .Values.exemptions }}{{ $lines = append $lines (printf "%s/%s" .namespace .serviceAccount) }}{{ end -}}
{{- join "\n" $lines -}}
{{- end }}

{{- define "sidegate.controlEnvironment" -}}
{{- if .Values.certificates.certManager.enabled }}
- { name: SIDEGATE_CERTIFICATES_BY, value: secret }
{{- end }}
- { name: SIDEGATE_CONTROL_NAMESPACE, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }
- { name: SIDEGATE_IDENTITY, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
{{- $namespaces := list -}}
{{- range .Values.credentials.namespaces }}{{ $namespaces = append $namespaces .name }}{{ end }}
- { name: SIDEGATE_CREDENTIAL_NAMESPACES, value: {{ join "," $namespaces | quote }} }
- { name: SIDEGATE_CREDENTIAL_SECONDS, value: {{ .Values.credentials.lifetimeSeconds | quote }} }
{{- end }}

{{/* A token of an hour, only in pods that speak to the API server. */}}
{{- define "sidegate.account" -}}
- name: account
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: { expirationSeconds: 3607, path: token }
      - configMap: { name: kube-root-ca.crt, items: [{ key: ca.crt, path: ca.crt }] }
      - downwardAPI: { items: [{ path: namespace, fieldRef: { fieldPath: metadata.namespace } }] }
{{- end }}

{{/* Helm deletes only what bears these. It writes them itself; what the controller makes anew has to have them too. */}}
{{- define "sidegate.owned" -}}
meta.helm.sh/release-name: {{ .Release.Name }}
meta.helm.sh/release-namespace: {{ .Release.Namespace }}
{{- end }}
