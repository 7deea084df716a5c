{{/* Name of every object: the release's, with the chart's where that says more. */}}
{{- define "immutable-operator.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "immutable-operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "immutable-operator.labels" -}}
{{ include "immutable-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The pinned image; says which value is missing. */}}
{{- define "immutable-operator.image" -}}
{{- if not .Values.image.repository -}}
{{- fail "\n\nimage.repository is not set: say where the operator's image is, without tag and digest, such as\n  --set image.repository=registry.example/immutable-operator\n(or --set replicas=0 when the operator runs elsewhere)\n" -}}
{{- end -}}
{{- if not .Values.image.digest -}}
{{- fail "\n\nimage.digest is not set: the operator's own image is pinned like every other; set it with\n  --set image.digest=sha256:<64 lower-case hex digits>\n(or --set replicas=0 when the operator runs elsewhere)\n" -}}
{{- end -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- end -}}

{{/* Name of the Lease that decides which pod acts; the operator's default. */}}
{{- define "immutable-operator.lease" -}}immutable-operator{{- end -}}

{{/* Name of the Service and of the Secret of the break-glass webhook. */}}
{{- define "immutable-operator.webhook" -}}
{{- include "immutable-operator.fullname" . }}-webhook
{{- end -}}
