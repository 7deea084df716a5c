{{- define "immutable-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of every object: fullnameOverride, or the release's name followed by the chart's. */}}
{{- define "immutable-operator.fullname" -}}
{{- $name := include "immutable-operator.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Service account of the operator. */}}
{{- define "immutable-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "immutable-operator.fullname" . -}}
{{- else -}}
{{- fail "\n\nserviceAccount.create is false and serviceAccount.name is not set: set it to the service account of the operator, such as\n  --set serviceAccount.name=immutable-operator\n" -}}
{{- end -}}
{{- end -}}

{{- define "immutable-operator.selector" -}}
app.kubernetes.io/name: {{ include "immutable-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of an object: (list . "<component>"). commonLabels cannot replace the chart's own. */}}
{{- define "immutable-operator.labels" -}}
{{- $root := index . 0 -}}
{{- $own := dict
  "app.kubernetes.io/name" (include "immutable-operator.name" $root)
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/component" (index . 1)
  "app.kubernetes.io/part-of" "immutable-operator"
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "app.kubernetes.io/managed-by" $root.Release.Service
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version)
-}}
{{- toYaml (merge $own $root.Values.commonLabels) -}}
{{- end -}}

{{/* The pinned image; fails with the name of a missing value. */}}
{{- define "immutable-operator.image" -}}
{{- if not .Values.image.repository -}}
{{- fail "\n\nimage.repository is not set: set it to the operator's image, without tag and digest, such as\n  --set image.repository=registry.example/immutable-operator\n(or --set replicas=0 if the operator runs outside the cluster)\n" -}}
{{- end -}}
{{- if not .Values.image.digest -}}
{{- fail "\n\nimage.digest is not set: the operator's own image must be pinned by digest as well; set it with\n  --set image.digest=sha256:<64 lower-case hex digits>\n(or --set replicas=0 if the operator runs outside the cluster)\n" -}}
{{- end -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- end -}}

{{/* Arguments for values that differ from the operator's defaults; fails if the times are not valid. */}}
{{- define "immutable-operator.limits" -}}
{{- with .Values.leaderElection }}
{{- if not (and (lt (float64 .retrySeconds) (float64 .renewSeconds)) (lt (float64 .renewSeconds) (float64 .leaseSeconds))) }}
{{- fail (printf "\n\nleaderElection: retrySeconds (%v) must be less than renewSeconds (%v), and renewSeconds less than leaseSeconds (%v)\n" .retrySeconds .renewSeconds .leaseSeconds) }}
{{- end }}
- --lease-seconds={{ .leaseSeconds }}
- --renew-seconds={{ .renewSeconds }}
- --retry-seconds={{ .retrySeconds }}
{{- end }}
- --writes-per-second={{ .Values.writesPerSecond }}
{{- end -}}

{{/* Name of the Lease for leader election; the operator's default. */}}
{{- define "immutable-operator.lease" -}}immutable-operator{{- end -}}

{{/* Name of the Service and of the Secret of the break-glass webhook. */}}
{{- define "immutable-operator.webhook" -}}
{{- include "immutable-operator.fullname" . }}-webhook
{{- end -}}

{{/* Name of the Roles that grant Secrets, and of the Secret with the key of their digests. */}}
{{- define "immutable-operator.pinning" -}}
{{- include "immutable-operator.fullname" . }}-pinning
{{- end -}}

{{/* Name of the Roles that grant Secrets to checks. */}}
{{- define "immutable-operator.checks" -}}
{{- include "immutable-operator.fullname" . }}-checks
{{- end -}}

{{/* A list of strings as CEL. */}}
{{- define "immutable-operator.celList" -}}
{{- $quoted := list }}
{{- range . }}
{{- $quoted = append $quoted (squote .) }}
{{- end }}
{{- printf "[%s]" (join ", " $quoted) }}
{{- end -}}

{{/* A policy: (list $ <path of its file>). */}}
{{- define "immutable-operator.policy" -}}
{{- $root := index . 0 }}
{{- $guard := trimSuffix ".yaml" (base (index . 1)) }}
{{- $user := printf "system:serviceaccount:%s:%s" $root.Release.Namespace (include "immutable-operator.serviceAccount" $root) }}
{{- $verbs := include "immutable-operator.celList" $root.Values.enforcement.allowedVerbs }}
{{- $unpinned := include "immutable-operator.celList" $root.Values.enforcement.allowUnpinned }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $guard }}.immutable.dev
  labels:
    {{- include "immutable-operator.labels" (list $root "policies") | nindent 4 }}
    immutable.dev/guard: {{ $guard }}
spec:
  {{- $root.Files.Get (index . 1) | replace "OPERATOR_USER" $user | replace "BREAK_GLASS" ($root.Values.enforcement.breakGlass | toString) | replace "ALLOWED_VERBS" $verbs | replace "ALLOWED_UNPINNED" $unpinned | nindent 2 }}
{{ end }}

{{/*
A binding of a policy: (list $ <guard> <suffix of its name> <validationActions> <matchExpressions>).
*/}}
{{- define "immutable-operator.binding" -}}
{{- $root := index . 0 }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ index . 1 }}{{ index . 2 }}.immutable.dev
  labels:
    {{- include "immutable-operator.labels" (list $root "policies") | nindent 4 }}
    immutable.dev/guard: {{ index . 1 }}{{ index . 2 }}
spec:
  policyName: {{ index . 1 }}.immutable.dev
  validationActions: {{- index . 3 | toYaml | nindent 4 }}
  matchResources:
    matchPolicy: Equivalent
    namespaceSelector:
      matchExpressions: {{- index . 4 | toYaml | nindent 8 }}
    objectSelector: {}
{{ end }}

{{/* Whether labels of namespaces determine where the policies apply: "true" or "". */}}
{{- define "immutable-operator.byLabel" -}}
{{- with .Values.enforcement }}
{{- if and (ne .mode "Off") (or .namespaceSelector .modeLabel) }}true{{ end }}
{{- end }}
{{- end -}}

{{/* Annotations of an object of `helm test` with this weight. */}}
{{- define "immutable-operator.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: "{{ . }}"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
