{{- /*
The values as the templates use them, as YAML: what `helm upgrade --reuse-values` brings from an older version gets the
defaults of what that one did not have, old names become new ones, and what is empty for something else is that.
What does not belong here: objects.
*/ -}}
{{- define "klever.values" -}}
{{- $values := deepCopy .Values -}}
{{- if hasKey ($values.registry | default dict) "insecure" -}}
{{- if not (hasKey $values.registry "plainHttp") -}}
{{- $_ := set $values.registry "plainHttp" $values.registry.insecure -}}
{{- else if $values.registry.insecure -}}
{{- $_ := set $values.registry "plainHttp" true -}}
{{- end -}}
{{- end -}}
{{- $known := .Files.Get "files/defaults.yaml" | fromYaml -}}
{{- include "klever.fill" (list $values $known.defaults $known.open) -}}
{{- if not $values.namespaces -}}
{{- $_ := set $values "namespaces" (list .Release.Namespace) -}}
{{- end -}}
{{- $_ := set $values "namespaces" ($values.namespaces | uniq) -}}
{{- if not $values.image.tag -}}
{{- $_ := set $values.image "tag" .Chart.AppVersion -}}
{{- end -}}
{{- toYaml $values -}}
{{- end -}}

{{- /* Set the defaults of keys that are missing, in place; what is open is whole where it is there. */ -}}
{{- define "klever.fill" -}}
{{- $values := index . 0 -}}
{{- $open := index . 2 -}}
{{- range $key, $default := index . 1 -}}
{{- if not (hasKey $values $key) -}}
{{- $_ := set $values $key $default -}}
{{- else if and (kindIs "map" $default) (kindIs "map" (get $values $key)) (not (has $key $open)) -}}
{{- include "klever.fill" (list (get $values $key) $default $open) -}}
{{- end -}}
{{- end -}}
{{- end -}}
