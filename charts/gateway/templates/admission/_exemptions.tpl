{{- /* As the admission policies read them, namespace/serviceAccount@day, one a line. */ -}}
{{- define "sidegate.exemptionLines" -}}
{{- $lines := list -}}
{{- range .Values.exemptions }}{{ $lines = append $lines (printf "%s/%s@%s" .namespace .serviceAccount .until) }}{{ end -}}
{{- join "\n" $lines -}}
{{- end }}
