{{- /* Labels of everything in this chart. Takes (dict "root" $ "name" "lighterman-agent"). */ -}}
{{- define "lighterman.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: lighterman
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- /* What a workload finds its Pods by; can never change. Takes (dict "root" $ "name" …). */ -}}
{{- define "lighterman.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{- /* Labels of a Pod. Without versions: a new chart with the same Pod restarts nothing. */ -}}
{{- define "lighterman.podLabels" -}}
{{ include "lighterman.selector" . }}
app.kubernetes.io/part-of: lighterman
{{- end -}}

{{- /* Reference of an image: by digest if there is one. Takes (dict "root" $ "name" "agent"). */ -}}
{{- define "lighterman.image" -}}
{{- $image := .root.Values.image -}}
{{- $repository := printf "%s/%s" (trimSuffix "/" $image.registry) .name -}}
{{- $digest := index $image.digests .name -}}
{{- if $digest -}}
{{- printf "%s@%s" $repository $digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* What every container of ours is denied. */ -}}
{{- define "lighterman.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* A quantity in Mi. Takes the text, such as 2Gi; the schema has seen to its form. */ -}}
{{- define "lighterman.mebibytes" -}}
{{- if hasSuffix "Gi" . -}}
{{- mul (trimSuffix "Gi" . | int64) 1024 -}}
{{- else -}}
{{- trimSuffix "Mi" . | int64 -}}
{{- end -}}
{{- end -}}

{{- /* The user of an agent's container; control tells its peers apart by it. */ -}}
{{- define "lighterman.user.control" -}}65532{{- end -}}
{{- define "lighterman.user.worker" -}}65533{{- end -}}
{{- define "lighterman.user.compiler" -}}65534{{- end -}}
{{- define "lighterman.user.spawner" -}}65531{{- end -}}
