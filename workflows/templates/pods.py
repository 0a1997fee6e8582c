"""The pod of a step: one container that runs ``klever-task``, with no right that it does not need.

Volumes, accounts, security context and retries are fields of the template and not of the workflow: a ``templateRef``
takes the template alone. What does not belong here: which steps there are.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from hera.workflows import Container, Env, RetryStrategy
from hera.workflows.models import (
    Backoff,
    Capabilities,
    ConfigMapVolumeSource,
    EmptyDirVolumeSource,
    ExecutorConfig,
    IntOrString,
    KeyToPath,
    Mutex,
    PersistentVolumeClaimVolumeSource,
    PodSecurityContext,
    Quantity,
    ResourceRequirements,
    SeccompProfile,
    SecretVolumeSource,
    SecurityContext,
    Synchronization,
    Volume,
    VolumeMount,
)

from klever.workflows.templates.expressions import display_name, model_of, placed, project_of, quantity
from klever.workflows.templates.parameters import OUTPUTS, Input, Output
from klever.workflows.templates.settings import Settings

#: The annotation of a template that names its nodes (``TemplateAnnotationDisplayName`` in workflow_types.go).
DISPLAY_NAME: Final = "workflows.argoproj.io/display-name"
PROGRESS: Final = "workflows.argoproj.io/progress"
#: The pod's own directory, the only one that it can write to; also for temporary files.
WORK: Final = "/klever"
WORK_VOLUME: Final = "work"
DOCKER_CONFIG: Final = "/klever-docker"
CERTIFICATES: Final = "/klever-certificates"
#: Where claims that ``klever-publish`` may read are mounted, each under its name.
SOURCES: Final = "/sources"
#: ``nonroot`` of the distroless images, and of ours.
USER: Final = 65_532
#: What a step that reads headers and moves manifests needs; the interpreter with what it imports takes 60 MB.
STEP_CPU: Final = "50m"
STEP_MEMORY: Final = "512Mi"
CONVERT_CPU: Final = "500m"

#: Worth another try: exit code 75 (EX_TEMPFAIL) of ``klever-task``; a pod that is gone, or whose node went down or was
#: short of something. A node of Argo is in phase Error where the pod is lost, and Failed where Kubernetes tells why.
WORTH_A_RETRY: Final = (
    "lastRetry.exitCode == '75' || lastRetry.status == 'Error' || lastRetry.message matches"
    " '^(The node was low on resource|Pod was terminated in response to imminent node shutdown|Preempt)'"
)


def step(
    name: str,
    settings: Settings,
    *,
    verb: str,
    image: str,
    inputs: Sequence[Input],
    outputs: Sequence[Output],
    subject: str,
    labels: Mapping[str, str] | None = None,
    shown: Sequence[str] = (),
    unsaid: Iterable[str] = (),
    extra: Sequence[str] = (),
    lock: str | None = None,
    patch: str | None = None,
    cpu: str = STEP_CPU,
    memory: str = STEP_MEMORY,
    deadline: int | None = None,
    claims: Sequence[str] = (),
) -> Container:
    """Return the template of one step.

    ``subject`` is the expression of the reference that the step is about, for labels and the node's name, behind
    ``shown``. Each of ``inputs`` becomes an argument, but those ``unsaid``; ``extra`` are further arguments.
    """
    volumes, mounts, env = _surroundings(settings, claims)
    said = [each for each in inputs if each.name not in set(unsaid)]
    return Container(
        name=name,
        image=image,
        image_pull_policy=settings.image_pull_policy,
        command=["klever-task"],
        args=[
            verb,
            *(f"--{each.name}={{{{inputs.parameters.{each.name}}}}}" for each in said),
            *extra,
            f"--directory={OUTPUTS}",
        ],
        env=env,
        inputs=[each.as_parameter() for each in inputs],
        outputs=[each.of_pod() for each in outputs],
        labels=pod_labels(verb, subject, labels or {}),
        annotations=named(*(shown or (f"'{name}'",)), model_of(subject)) | {PROGRESS: "0/100"},
        volumes=volumes,
        volume_mounts=mounts,
        resources=_resources(cpu, "" if patch else memory),
        pod_spec_patch=patch,
        security_context=SecurityContext(
            allow_privilege_escalation=False,
            capabilities=Capabilities(drop=["ALL"]),
            privileged=False,
            read_only_root_filesystem=True,
            run_as_non_root=True,
        ),
        pod_security_context=PodSecurityContext(
            fs_group=USER,
            run_as_group=USER,
            run_as_non_root=True,
            run_as_user=USER,
            seccomp_profile=SeccompProfile(type="RuntimeDefault"),
        ),
        service_account_name=settings.service_account,
        automount_service_account_token=False,
        executor=ExecutorConfig(service_account_name=settings.executor_service_account),
        active_deadline_seconds=deadline or settings.step_deadline,
        retry_strategy=RetryStrategy(
            limit=settings.retries,
            retry_policy="Always",
            expression=WORTH_A_RETRY,
            backoff=Backoff(duration="10s", factor=IntOrString(root=2)),
        ),
        synchronization=Synchronization(mutexes=[Mutex(name=placed(lock))]) if lock else None,
    )


def image_of(name: str, settings: Settings) -> str:
    """Return an image of ours by its short name; it is within our prefix, whatever the name."""
    return f"{settings.image_prefix}{name}:{settings.image_tag}"


def named(*parts: str) -> dict[str, str]:
    """Return the annotation that names a node for people."""
    return {DISPLAY_NAME: placed(display_name(*parts))}


def pod_labels(stage: str, subject: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels to filter by; those of ``labels`` are expressions."""
    return {
        "kleveross.io/stage": stage,
        "kleveross.io/project": placed(project_of(subject)),
        "kleveross.io/model": placed(model_of(subject)),
        **{f"kleveross.io/{name}": placed(expression) for name, expression in labels.items()},
    }


def sized(memory: str, storage: str, settings: Settings) -> str:
    """Return the patch that gives the pod what it needs and no more; the arguments are expressions of quantities.

    The patch is JSON made from text that somebody gave, so that nothing of it may end a string there.
    """
    size, disk = placed(quantity(memory)), placed(quantity(storage))
    amounts = {"memory": size} | ({"ephemeral-storage": disk} if settings.reserve_storage else {})
    patch = {
        "containers": [{"name": "main", "resources": {"requests": amounts, "limits": amounts}}],
        "volumes": [{"name": WORK_VOLUME, "emptyDir": {"sizeLimit": disk}}],
    }
    return json.dumps(patch)


def _resources(cpu: str, memory: str) -> ResourceRequirements:
    sized = {"memory": Quantity(root=memory)} if memory else {}
    return ResourceRequirements(requests={"cpu": Quantity(root=cpu)} | sized, limits=sized or None)


def _surroundings(settings: Settings, claims: Sequence[str]) -> tuple[list[Volume], list[VolumeMount], list[Env]]:
    volumes = [
        Volume(name=WORK_VOLUME, empty_dir=EmptyDirVolumeSource()),
        Volume(
            name="registry",
            secret=SecretVolumeSource(
                secret_name=settings.registry_secret,
                optional=True,
                default_mode=0o440,
                items=[KeyToPath(key=".dockerconfigjson", path="config.json")],
            ),
        ),
    ]
    mounts = [
        VolumeMount(name=WORK_VOLUME, mount_path=WORK),
        VolumeMount(name="registry", mount_path=DOCKER_CONFIG, read_only=True),
    ]
    env = [Env(name="TMPDIR", value=WORK), Env(name="DOCKER_CONFIG", value=DOCKER_CONFIG)]
    if settings.plain_http:
        env.append(Env(name="KLEVER_PLAIN_HTTP", value="true"))
    if settings.ca_config_map:
        volumes.append(Volume(name="certificates", config_map=ConfigMapVolumeSource(name=settings.ca_config_map)))
        mounts.append(VolumeMount(name="certificates", mount_path=CERTIFICATES, read_only=True))
        env.append(Env(name="KLEVER_CA_FILE", value=f"{CERTIFICATES}/ca.crt"))
    for number, claim in enumerate(claims):
        source = PersistentVolumeClaimVolumeSource(claim_name=claim, read_only=True)
        volumes.append(Volume(name=f"source-{number}", persistent_volume_claim=source))
        mounts.append(VolumeMount(name=f"source-{number}", mount_path=f"{SOURCES}/{claim}", read_only=True))
    return volumes, mounts, env
