"""Which fields of a workflow this machine honours, and which have no meaning on it: every other one is refused.

The tables are the whole truth about what the local runner takes; `check` names each field that it does not, with the
path to it. What does not belong here: whether the fields that are honoured make sense.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from klever.workflows.local.expressions import ExpressionError, parse

#: A field by its path, with the reason why it cannot be honoured.
Problem = str


@dataclass(frozen=True)
class Fields:
    """The fields of one kind of object."""

    honoured: frozenset[str]
    #: Cluster matters: where and as whom a pod runs, how much it gets, how long it is kept, how it is counted.
    meaningless: frozenset[str] = frozenset()
    #: What is refused, and why; empty and false values are let pass.
    refused: Mapping[str, str] = field(default_factory=dict)

    def check(self, value: Mapping[str, Any], path: str) -> Iterator[Problem]:
        """Yield what this machine cannot do."""
        for name, inner in value.items():
            if name in self.honoured or name in self.meaningless or not inner:
                continue
            reason = self.refused.get(name, "which it does not know")
            yield f"{path}.{name} ({reason})" if path else f"{name} ({reason})"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLACEMENT: Final = "nodeSelector affinity tolerations schedulerName hostAliases securityContext "
_IDENTITY: Final = "serviceAccountName automountServiceAccountToken executor "
_NO_ARTIFACTS: Final = "artifacts pass through a store; let the steps pass references"

DOCUMENT: Final = Fields(_names("apiVersion kind metadata spec"), _names("status"))
SPEC: Final = Fields(
    _names(
        "templates entrypoint arguments volumes parallelism onExit activeDeadlineSeconds workflowTemplateRef "
        "synchronization retryStrategy templateDefaults hooks workflowMetadata podSpecPatch priority"
    ),
    _names(
        _PLACEMENT + _IDENTITY + "imagePullSecrets hostNetwork dnsPolicy dnsConfig ttlStrategy podGC "
        "podPriorityClassName podDisruptionBudget metrics volumeClaimGC podMetadata archiveLogs artifactGC "
        "artifactRepositoryRef"
    ),
    {
        "volumeClaimTemplates": "there are no volume claims here; use emptyDir",
        "shutdown": "a run is stopped with Ctrl-C",
        "suspend": "a run that begins suspended never ends here",
    },
)
TEMPLATE: Final = Fields(
    _names(
        "name inputs outputs steps dag container script suspend activeDeadlineSeconds retryStrategy parallelism "
        "failFast synchronization timeout annotations volumes podSpecPatch"
    ),
    _names(_PLACEMENT + _IDENTITY + "metadata archiveLocation priorityClassName metrics memoize"),
    {
        "containerSet": "several containers in one pod",
        "resource": "there is no Kubernetes to change",
        "data": "artifacts pass through a store",
        "http": "Argo's agent asks; use a script",
        "plugin": "plugins run in Argo's agent",
        "daemon": "a pod that runs beside others",
        "initContainers": "several containers in one pod",
        "sidecars": "several containers in one pod",
    },
)
CONTAINER: Final = Fields(
    _names("name command args env envFrom workingDir volumeMounts terminationMessagePath terminationMessagePolicy"),
    _names("image imagePullPolicy resources resizePolicy restartPolicy securityContext ports"),
    {
        "stdin": "a task has no one who types",
        "stdinOnce": "a task has no one who types",
        "tty": "a task has no terminal",
        "livenessProbe": "nothing probes a process here",
        "readinessProbe": "nothing probes a process here",
        "startupProbe": "nothing probes a process here",
        "lifecycle": "a process has no life cycle hooks here",
        "volumeDevices": "there are no block devices here",
    },
)
SCRIPT: Final = Fields(CONTAINER.honoured | {"source"}, CONTAINER.meaningless, CONTAINER.refused)
_TASK: Final = (
    "name template inline arguments templateRef withItems withParam withSequence when continueOn onExit hooks"
)
TASK: Final = Fields(_names(f"{_TASK} dependencies depends"))
STEP: Final = Fields(_names(_TASK))
DAG: Final = Fields(_names("target tasks failFast"))
HOOK: Final = Fields(_names("template templateRef arguments expression"))
TEMPLATE_REF: Final = Fields(
    _names("name template"), refused={"clusterScope": "there are no cluster workflow templates here"}
)
HOLDER: Final = Fields(_names("parameters"), refused={"artifacts": _NO_ARTIFACTS})
PARAMETER: Final = Fields(_names("name default value valueFrom globalName enum description"))
_NO_MAP: Final = "there are no config maps here; pass the value as an argument"
ARGUMENT_SOURCE: Final = Fields(
    _names("default"), refused={"configMapKeyRef": _NO_MAP, "event": "there are no events here"}
)
OUTPUT_SOURCE: Final = Fields(
    _names("path parameter expression default supplied"),
    refused={
        "jsonPath": "of resources only",
        "jqFilter": "of resources only",
        "configMapKeyRef": _NO_MAP,
        "event": "there are no events here",
    },
)
RETRY: Final = Fields(_names("limit retryPolicy backoff expression"), _names("affinity"))
BACKOFF: Final = Fields(_names("duration factor maxDuration cap"))
SEQUENCE: Final = Fields(_names("count start end format"))
CONTINUE_ON: Final = Fields(_names("error failed"))
SUSPEND: Final = Fields(_names("duration"))
_NO_SEMAPHORE: Final = "semaphores are in config maps; use a mutex"
SYNCHRONIZATION: Final = Fields(
    _names("mutex mutexes"), refused={"semaphore": _NO_SEMAPHORE, "semaphores": _NO_SEMAPHORE}
)
MUTEX: Final = Fields(_names("name namespace"), refused={"database": "there is no database of locks here"})
METADATA: Final = Fields(_names("labels annotations labelsFrom"))
ENV: Final = Fields(_names("name value valueFrom"))
MOUNT: Final = Fields(
    _names("name mountPath subPath"),
    _names("readOnly recursiveReadOnly"),
    {"subPathExpr": "write the path out", "mountPropagation": "nothing is mounted"},
)
#: What of a pod's patch has no meaning here; a pod's patch is otherwise refused.
_PATCH_POD: Final = _names(_PLACEMENT + _IDENTITY + "containers initContainers volumes terminationGracePeriodSeconds")
_PATCH_CONTAINER: Final = _names("name resources securityContext imagePullPolicy")


class Check:
    """Collects the problems of documents."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def take(self, fields: Fields, value: Any, path: str) -> Mapping[str, Any]:
        """Check one object's own fields, and return it; what is no object counts as empty."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.problems.append(f"{path} (which has to be an object)")
            return {}
        self.problems += fields.check(value, path)
        return value

    def each(self, value: Any, path: str) -> Iterator[tuple[Any, str]]:
        """Yield the items of a list with their paths; named items by their name."""
        if value is None:
            return
        if not isinstance(value, list):
            self.problems.append(f"{path} (which has to be a list)")
            return
        for index, item in enumerate(value):
            name = item.get("name") if isinstance(item, Mapping) else None
            yield item, f"{path}[{name or index}]"

    def refuse(self, path: str, reason: str) -> None:
        """Note a problem."""
        self.problems.append(f"{path} ({reason})")

    # -- objects

    def spec(self, spec: Mapping[str, Any], path: str) -> None:
        """Check a workflow's spec without its templates."""
        self.take(SPEC, spec, path)
        self.texts({key: value for key, value in spec.items() if key in SPEC.honoured - {"templates"}}, path)
        self.holder(spec.get("arguments"), f"{path}.arguments", ARGUMENT_SOURCE)
        self.retry(spec.get("retryStrategy"), f"{path}.retryStrategy")
        self.synchronization(spec.get("synchronization"), f"{path}.synchronization")
        self.hooks(spec.get("hooks"), f"{path}.hooks")
        self.take(METADATA, spec.get("workflowMetadata"), f"{path}.workflowMetadata")
        self.take(TEMPLATE_REF, spec.get("workflowTemplateRef"), f"{path}.workflowTemplateRef")
        self.patch(spec.get("podSpecPatch"), f"{path}.podSpecPatch")
        if defaults := spec.get("templateDefaults"):
            self.template(defaults, f"{path}.templateDefaults", volumes=spec.get("volumes"), whole=False)

    def template(self, template: Mapping[str, Any], path: str, *, volumes: Any, whole: bool = True) -> None:
        """Check a template; ``volumes`` are the workflow's, ``whole`` is false for mere defaults."""
        self.take(TEMPLATE, template, path)
        self.texts({key: value for key, value in template.items() if key not in TEMPLATE.meaningless}, path)
        self.holder(template.get("inputs"), f"{path}.inputs", ARGUMENT_SOURCE)
        self.holder(template.get("outputs"), f"{path}.outputs", OUTPUT_SOURCE)
        self.retry(template.get("retryStrategy"), f"{path}.retryStrategy")
        self.synchronization(template.get("synchronization"), f"{path}.synchronization")
        self.patch(template.get("podSpecPatch"), f"{path}.podSpecPatch")
        for kind, fields in (("container", CONTAINER), ("script", SCRIPT)):
            if template.get(kind) is not None:
                container = self.take(fields, template[kind], f"{path}.{kind}")
                mine = [*(volumes or []), *(template.get("volumes") or [])]
                self.container(container, f"{path}.{kind}", mine, whole=whole)
        dag = self.take(DAG, template.get("dag"), f"{path}.dag")
        for task, where in self.each(dag.get("tasks"), f"{path}.dag.tasks"):
            self.task(TASK, task, where, volumes)
        for index, group in enumerate(template.get("steps") or []):
            for step, where in self.each(group if isinstance(group, list) else [group], f"{path}.steps[{index}]"):
                self.task(STEP, step, where, volumes)
        if template.get("suspend") is not None:
            suspend = self.take(SUSPEND, template["suspend"], f"{path}.suspend")
            if not suspend.get("duration"):
                self.refuse(f"{path}.suspend", "nobody resumes it; give it a duration")

    def task(self, fields: Fields, task: Any, path: str, volumes: Any) -> None:
        """Check a task or step, and the template in it if there is one."""
        task = self.take(fields, task, path)
        self.holder(task.get("arguments"), f"{path}.arguments", ARGUMENT_SOURCE)
        self.take(TEMPLATE_REF, task.get("templateRef"), f"{path}.templateRef")
        self.take(SEQUENCE, task.get("withSequence"), f"{path}.withSequence")
        self.take(CONTINUE_ON, task.get("continueOn"), f"{path}.continueOn")
        self.hooks(task.get("hooks"), f"{path}.hooks")
        if inline := task.get("inline"):
            self.template(inline, f"{path}.inline", volumes=volumes)

    def hooks(self, hooks: Any, path: str) -> None:
        """Check hooks by name."""
        for name, hook in (hooks or {}).items():
            hook = self.take(HOOK, hook, f"{path}.{name}")
            self.holder(hook.get("arguments"), f"{path}.{name}.arguments", ARGUMENT_SOURCE)
            self.take(TEMPLATE_REF, hook.get("templateRef"), f"{path}.{name}.templateRef")
            self.expression(hook.get("expression"), f"{path}.{name}.expression")

    def holder(self, holder: Any, path: str, source: Fields) -> None:
        """Check parameters."""
        holder = self.take(HOLDER, holder, path)
        for parameter, where in self.each(holder.get("parameters"), f"{path}.parameters"):
            parameter = self.take(PARAMETER, parameter, where)
            inner = self.take(source, parameter.get("valueFrom"), f"{where}.valueFrom")
            self.expression(inner.get("expression"), f"{where}.valueFrom.expression")

    def retry(self, strategy: Any, path: str) -> None:
        """Check a retry strategy."""
        strategy = self.take(RETRY, strategy, path)
        self.take(BACKOFF, strategy.get("backoff"), f"{path}.backoff")
        self.expression(strategy.get("expression"), f"{path}.expression")

    def synchronization(self, synchronization: Any, path: str) -> None:
        """Check locks."""
        synchronization = self.take(SYNCHRONIZATION, synchronization, path)
        self.take(MUTEX, synchronization.get("mutex"), f"{path}.mutex")
        for mutex, where in self.each(synchronization.get("mutexes"), f"{path}.mutexes"):
            self.take(MUTEX, mutex, where)

    def container(self, container: Mapping[str, Any], path: str, volumes: list[Any], *, whole: bool) -> None:
        """Check what a process is made of."""
        if whole and not container.get("command"):
            self.refuse(f"{path}.command", "without it the image says what runs; write it out")
        for variable, where in self.each(container.get("env"), f"{path}.env"):
            variable = self.take(ENV, variable, where)
            if source := variable.get("valueFrom"):
                self.source(source, where)
        for source, where in self.each(container.get("envFrom"), f"{path}.envFrom"):
            self.source(source, where)
        known = {volume.get("name"): volume for volume in volumes if isinstance(volume, Mapping)}
        for mount, where in self.each(container.get("volumeMounts"), f"{path}.volumeMounts"):
            mount = self.take(MOUNT, mount, where)
            volume = known.get(mount.get("name"))
            if volume is None:
                self.refuse(where, "no volume has this name")
            elif reason := unusable(volume):
                self.refuse(where, reason)

    def source(self, source: Mapping[str, Any], path: str) -> None:
        """Check where an environment variable comes from: on a machine there is nothing, which has to be allowed."""
        for kind in ("secretKeyRef", "configMapKeyRef", "secretRef", "configMapRef"):
            if (inner := source.get(kind)) and not inner.get("optional"):
                self.refuse(f"{path}.{kind}", "there are no secrets and config maps here; make it optional")
        reference = source.get("fieldRef") or {}
        if reference and reference.get("fieldPath") not in ("metadata.name", "metadata.namespace"):
            self.refuse(f"{path}.fieldRef", "of a pod this machine knows only its name and namespace")
        if source.get("resourceFieldRef"):
            self.refuse(f"{path}.resourceFieldRef", "a process has no resource limits here")

    def patch(self, patch: Any, path: str) -> None:
        """Check that a pod's patch changes only what has no meaning here."""
        if not patch:
            return
        try:
            # A tag would be a mapping to YAML.
            read = yaml.safe_load(re.sub(r"\{\{.*?\}\}", "0", str(patch), flags=re.DOTALL))
        except yaml.YAMLError:
            self.refuse(path, "which cannot be read before its variables are known")
            return
        if not isinstance(read, Mapping):
            self.refuse(path, "which has to be an object")
            return
        self.problems += Fields(frozenset(), _PATCH_POD).check(read, path)
        for kind in ("containers", "initContainers"):
            for container, where in self.each(read.get(kind), f"{path}.{kind}"):
                self.take(Fields(frozenset(), _PATCH_CONTAINER), container, where)
        for volume, where in self.each(read.get("volumes"), f"{path}.volumes"):
            # The limit of an emptyDir's size has no meaning here.
            self.take(Fields(_names("name"), _names("emptyDir")), volume, where)

    def expression(self, source: Any, path: str) -> None:
        """Check that an expression can be read and its functions are known."""
        if not source or "{{" in str(source):
            return
        try:
            unknown = list(parse(str(source)).unknown_functions())
        except ExpressionError as error:
            self.refuse(path, f"an expression that cannot be read: {error.message}")
            return
        for name in dict.fromkeys(unknown):
            self.refuse(path, f"it calls {name}, a function that is not there")

    def texts(self, value: Any, path: str) -> None:
        """Check the ``{{=...}}`` in all texts."""
        if isinstance(value, str):
            for match in re.finditer(r"\{\{=(.*?)\}\}", value, re.DOTALL):
                self.expression(match[1], path)
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                if key not in ("description", "resources", "podSpecPatch"):
                    self.texts(inner, f"{path}.{key}")
        elif isinstance(value, list):
            for item, where in self.each(value, path):
                self.texts(item, where)


def honoured_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec, and its templates, without the fields that have no meaning here."""
    kept = {key: value for key, value in spec.items() if key not in SPEC.meaningless | {"podSpecPatch"}}
    kept["templates"] = [honoured_template(template) for template in spec.get("templates") or []]
    if spec.get("templateDefaults"):
        kept["templateDefaults"] = honoured_template(spec["templateDefaults"])
    return kept


def honoured_template(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template without the fields that have no meaning here: their variables need not be there either."""
    kept = {key: value for key, value in template.items() if key not in TEMPLATE.meaningless | {"podSpecPatch"}}
    for kind in ("container", "script"):
        if isinstance(kept.get(kind), Mapping):
            container = kept[kind]
            kept[kind] = {key: value for key, value in container.items() if key not in CONTAINER.meaningless}
    if isinstance(kept.get("dag"), Mapping):
        kept["dag"] = {**kept["dag"], "tasks": [_honoured_task(task) for task in kept["dag"].get("tasks") or []]}
    if kept.get("steps"):
        kept["steps"] = [
            [_honoured_task(step) for step in (group if isinstance(group, list) else [group])]
            for group in kept["steps"]
        ]
    return kept


def _honoured_task(task: Any) -> Any:
    if not isinstance(task, Mapping) or not task.get("inline"):
        return task
    return {**task, "inline": honoured_template(task["inline"])}


def unusable(volume: Mapping[str, Any]) -> str:
    """Return why a volume cannot be had here; empty for an emptyDir, and for what may be absent."""
    if "emptyDir" in volume or is_absent(volume):
        return ""
    kind = next((key for key in volume if key != "name"), "nothing")
    return f"its volume is a {kind}; here there are emptyDir and optional secrets and config maps"


def is_absent(volume: Mapping[str, Any]) -> bool:
    """Say whether a volume is one that may be absent, and so is."""
    for kind in ("secret", "configMap"):
        if (source := volume.get(kind)) is not None:
            return bool(source.get("optional"))
    if (projected := volume.get("projected")) is not None:
        sources = projected.get("sources") or []
        return all(is_absent(source) for source in sources)
    return False
