{{- /* What the controller and the server may do in a namespace with ModelJobs; nothing of it reaches a secret or a pod. */ -}}
{{- define "klever.rules" -}}
controller:
  # `create` is for models that no event told of, `delete` for jobs that finished long ago.
  - apiGroups: [kleveross.io]
    resources: [modeljobs]
    verbs: [create, delete, get, list, watch]
  - apiGroups: [kleveross.io]
    resources: [modeljobs/status]
    verbs: [patch]
  # `patch` is for stopping one.
  - apiGroups: [argoproj.io]
    resources: [workflows]
    verbs: [create, delete, get, list, patch, watch]
  # `list` is for the sentence that names those that there are.
  - apiGroups: [argoproj.io]
    resources: [workflowtemplates]
    verbs: [get, list]
  - apiGroups: [""]
    resources: [events]
    verbs: [create]
server:
  - apiGroups: [kleveross.io]
    resources: [modeljobs]
    verbs: [create, get]
{{- end -}}
