{{- /*
What the objects of the controller and of the server have in common. Each takes a list: the root, the values as
"klever.values" gives them, and the component, controller or server. What does not belong here: what only one of them has.
*/ -}}
{{- define "klever.labels" -}}
app.kubernetes.io/name: klever
app.kubernetes.io/part-of: klever
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "klever.selector" -}}
app.kubernetes.io/name: klever
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
app.kubernetes.io/component: {{ index . 2 }}
{{- end -}}

{{- /* Labels and annotations of the pods. The ConfigMap's checksum starts new pods when the policy changes. */ -}}
{{- define "klever.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- $own := get $values (index . 2) -}}
annotations:
  {{- with $own.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  checksum/policy: {{ toYaml $values.policy | sha256sum }}
labels:
  {{- with $own.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- include "klever.labels" $root | nindent 2 }}
  app.kubernetes.io/component: {{ index . 2 }}
{{- end -}}

{{- /* Who the pods are and where they run. */ -}}
{{- define "klever.podSpec" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- $component := index . 2 -}}
{{- $own := get $values $component -}}
serviceAccountName: klever-{{ $component }}
automountServiceAccountToken: true
enableServiceLinks: false
securityContext:
  {{- include "klever.podSecurityContext" $root | nindent 2 }}
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with $own.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "klever.selector" (list $root $values $component) | nindent 8 }}
  {{- end }}
volumes:
  - name: work
    emptyDir:
      sizeLimit: 64Mi
  - name: policy
    configMap:
      name: klever-policy
  {{- /* Pods start without these secrets, and have them when they are made. 288 is 0440. */}}
  - name: harbor
    secret:
      secretName: {{ $values.harbor.secret | quote }}
      optional: true
      defaultMode: 288
  - name: registry
    secret:
      secretName: {{ $values.registry.secret | quote }}
      optional: true
      defaultMode: 288
      items:
        - key: .dockerconfigjson
          path: config.json
  {{- if eq $component "server" }}
  - name: hook
    secret:
      secretName: {{ $values.hook.secret | quote }}
      optional: true
      defaultMode: 288
  {{- end }}
  {{- with $values.registry.caConfigMap }}
  - name: certificates
    configMap:
      name: {{ . | quote }}
  {{- end }}
{{- end -}}

{{- define "klever.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "klever.securityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop:
    - ALL
{{- end -}}

{{- define "klever.mounts" -}}
{{- $values := index . 1 -}}
- name: work
  mountPath: /klever
- name: policy
  mountPath: /etc/klever
  readOnly: true
- name: harbor
  mountPath: /etc/klever-harbor
  readOnly: true
- name: registry
  mountPath: /klever-docker
  readOnly: true
{{- if eq (index . 2) "server" }}
- name: hook
  mountPath: /etc/klever-hook
  readOnly: true
{{- end }}
{{- if $values.registry.caConfigMap }}
- name: certificates
  mountPath: /klever-certificates
  readOnly: true
{{- end }}
{{- end -}}

{{- /* What both processes are told. */ -}}
{{- define "klever.env" -}}
{{- $values := index . 1 -}}
- name: TMPDIR
  value: /klever
- name: KLEVER_LOG_LEVEL
  value: {{ $values.logLevel }}
- name: KLEVER_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: KLEVER_NAMESPACES
  value: {{ ternary "" (join "," $values.namespaces) $values.clusterWide | quote }}
- name: KLEVER_POLICY_FILE
  value: /etc/klever/policy.yaml
- name: KLEVER_REGISTRY_HOST
  value: {{ include "klever.registryHost" . | quote }}
{{- with $values.harbor.url }}
- name: KLEVER_HARBOR_URL
  value: {{ . | quote }}
- name: KLEVER_HARBOR_USERNAME_FILE
  value: /etc/klever-harbor/username
- name: KLEVER_HARBOR_PASSWORD_FILE
  value: /etc/klever-harbor/password
{{- end }}
- name: KLEVER_PLAIN_HTTP
  value: {{ $values.registry.plainHttp | quote }}
{{- if $values.registry.caConfigMap }}
- name: KLEVER_CA_FILE
  value: /klever-certificates/ca.crt
{{- end }}
- name: DOCKER_CONFIG
  value: /klever-docker
{{- end -}}

{{- define "klever.registryHost" -}}
{{- $values := index . 1 -}}
{{- $values.registry.host | default (get (urlParse $values.harbor.url) "host") -}}
{{- end -}}

{{- define "klever.image" -}}
{{- $values := index . 1 -}}
{{ printf "%sapi:%s" $values.image.prefix $values.image.tag | quote }}
{{- end -}}
