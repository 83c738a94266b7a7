{{/* For a Prometheus without the operator; below the annotations of a pod of the control plane. */}}
{{- define "sidegate.scrape" -}}
{{- if .Values.monitoring.annotations.enabled }}
prometheus.io/scrape: "true"
prometheus.io/scheme: https
prometheus.io/port: "8443"
prometheus.io/path: /metrics
{{- end }}
{{- end }}
