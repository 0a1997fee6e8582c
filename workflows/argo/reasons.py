"""Say in a sentence why a node failed or does not start, from the message that Argo and Kubernetes left.

`explain` is a pure function of the message; `explain_run` goes through a run. What does not belong here: how it is
shown, and what a step of ours means by its own message, which stands as it is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from klever.steps.errors import printable
from klever.workflows.status import Node, Phase, Run

#: The exit code of a step of ours that failed for now (EX_TEMPFAIL of sysexits.h).
TEMPORARY_CODE: Final = 75
#: The most of a foreign message that a sentence carries.
_LONGEST: Final = 400

#: ``main: OOMKilled (exit code 137)``, ``main: Error (exit code 1): MESSAGE``: inferFailedReason of Argo's operator.go.
_ENDED: Final = re.compile(
    r"(?:(?P<container>[\w.-]+): )?(?P<reason>\w*) ?\(exit code (?P<code>-?\d+)\)(?:: (?P<message>.*))?", re.DOTALL
)
_NEXT: Final = "; next: "
_SEE_LOG: Final = "see its log for why"


@dataclass(frozen=True)
class Reason:
    """Why something failed or waits: one sentence without its end, and what to do about it."""

    cause: str
    next_step: str = ""
    #: Whether trying again may help without any change.
    temporary: bool = False


class _Rule(NamedTuple):
    """What a message matches, and what is said then; groups of the pattern fill the sentence."""

    pattern: re.Pattern[str]
    cause: str
    next_step: str
    temporary: bool = False


def _rule(pattern: str, cause: str, next_step: str, *, temporary: bool = False) -> _Rule:
    return _Rule(re.compile(pattern, re.DOTALL), cause, next_step, temporary)


#: The first that matches counts. The texts are Kubernetes' (kubelet, scheduler, admission) and Argo's own.
_RULES: Final = (
    # Images: the kubelet's reasons, k8s.io/kubernetes/pkg/kubelet/images/types.go.
    _rule(
        r"(?:ErrImagePull|ImagePullBackOff|ImageInspectError|RegistryUnavailable)\b.*?"
        r"(?:unauthorized|authorization failed|403 Forbidden|401 Unauthorized|access denied)",
        "the registry does not let the node pull its image{image}",
        "give the service account an imagePullSecret for that registry",
    ),
    _rule(
        r"(?:ErrImagePull|ImagePullBackOff|ImageInspectError|RegistryUnavailable)\b.*?(?:not found|manifest unknown)",
        "its image{image} does not exist",
        "push the image, or correct its name and tag in the template",
    ),
    _rule(
        r"(?:ErrImagePull|ImagePullBackOff|ImageInspectError|RegistryUnavailable)\b",
        "its image{image} cannot be pulled",
        "check the image's name, and that the nodes reach its registry",
        temporary=True,
    ),
    _rule(
        r"ErrImageNeverPull\b",
        "its image{image} is not on the node, and the pull policy is Never",
        "load the image on the nodes, or use imagePullPolicy: IfNotPresent",
    ),
    _rule(r"InvalidImageName\b", "its image's name{image} is not valid", "correct the image's name in the template"),
    _rule(
        r"failed to look-up entrypoint/cmd for image \"(?P<quoted>[^\"]*)\"",
        "Argo could not ask the registry what image {quoted} starts, which it has to where a template has no command",
        "give the template's container a command",
    ),
    # Placement: the scheduler.
    _rule(
        r"Unschedulable(?:: \d+/\d+ nodes are available: (?P<lacks>.*?)(?:\. no new claims.*|\. preemption.*|$))?$",
        "no node of the cluster can take it: {lacks}",
        "ask for less memory, CPU or storage, or add a node that has it",
        temporary=True,
    ),
    # What a container needs before it starts: pkg/kubelet/kuberuntime.
    _rule(
        r"CreateContainerConfigError: (?P<detail>.*)",
        "its container cannot be set up: {detail}",
        "create what is missing, or correct the template",
    ),
    _rule(
        r"failed to find name in PATH: exec: \"(?P<program>[^\"]+)\"",
        "its image has no program {program}",
        "correct the template's command, or its image",
    ),
    _rule(
        r"(?:CreateContainerError|RunContainerError|StartError|ContainerCannotRun)\b.*?"
        r"exec: \"?(?P<program>[^\":]+)\"?: (?:executable file not found|stat .*|no such file).*",
        "its image has no program {program}",
        "correct the template's command, or its image",
    ),
    _rule(
        r"failed to find name in PATH: exec: \"(?P<program>[^\"]+)\"",
        "its image has no program {program}",
        "correct the template's command, or its image",
    ),
    _rule(
        r"(?:CreateContainerError|RunContainerError|StartError|ContainerCannotRun)\b:? ?(?P<detail>.*)",
        "its container cannot be started: {detail}",
        "correct the template's container, or its image",
    ),
    # Its turn: Argo's mutexes (workflow/sync/semaphore.go).
    _rule(
        r"^Waiting for (?:[^/ ]+/)?(?:Mutex|ConfigMap|Database)/(?P<lock>\S+) lock\b",
        "another workflow holds the lock {lock}",
        "wait until that one has ended",
        temporary=True,
    ),
    # Time.
    _rule(
        r"Pod was active on the node longer than the specified deadline|exceeded its deadline|"
        r"Max duration limit exceeded|DeadlineExceeded",
        "it ran longer than its deadline allows",
        "give it a longer deadline, or find out from its logs what took so long",
    ),
    # Ended by somebody.
    _rule(
        r"workflow shutdown with strategy: +(?:Stop|Terminate)|Stopped with strategy",
        "it was stopped because the workflow was",
        "klever workflows retry runs it again",
    ),
    _rule(
        r"^pod deleted$|could not be located when the pod was (?:terminated|deleted)",
        "its pod was deleted while it ran",
        "klever workflows retry runs it again",
        temporary=True,
    ),
    _rule(
        r"The node was low on resource: (?P<what>[\w-]+)",
        "it was evicted because its node ran short of {what}",
        "ask for as much as it needs, so that it is placed where there is enough",
        temporary=True,
    ),
    _rule(
        r"\bEvicted\b|Preempting|Preempted|node (?:is )?shutting down|TaintManagerEviction|NodeLost|"
        r"Pod was (?:terminated|rejected).*(?i:node)",
        "its pod was taken off its node",
        "klever workflows retry runs it again",
        temporary=True,
    ),
    # Admission and rights.
    _rule(
        r"service ?account \"?(?P<account>[^\" ]+?)\"? (?:was )?not found",
        "its service account {account} does not exist in the namespace",
        "create the service account, or name another one",
    ),
    _rule(
        r"exceeded quota: (?P<detail>.*)",
        "the namespace's quota is used up: {detail}",
        "wait until other pods have ended, ask for less, or have the quota raised",
        temporary=True,
    ),
    _rule(
        r"workflowtaskresults.*? is forbidden|cannot (?:create|patch) resource \"workflowtaskresults\"",
        "its service account may not report results to Argo",
        "give the service account the right to create and patch workflowtaskresults.argoproj.io",
    ),
    _rule(
        r"cannot (?P<verb>\w+) resource \"(?P<what>[^\"]+)\"",
        "its service account may not {verb} {what}",
        "give the service account this right",
    ),
    # A consequence: which part it was is told at that part.
    _rule(r"^child '[^']*' (?:failed|errored)$", "a part of it failed", "see the part that failed"),
    # The document.
    _rule(
        r"^(?:invalid spec: )?spec\.arguments\.(?P<name>[^ ]+)\.value or .* is required$",
        "its argument {name} has no value",
        "give it with -p {name}=VALUE",
    ),
    _rule(
        r"workflowtemplates\.argoproj\.io \"(?P<name>[^\"]+)\" not found",
        "WorkflowTemplate {name} does not exist in the namespace",
        "apply it; klever templates apply installs ours",
    ),
    _rule(
        r"^invalid spec: (?P<detail>.*)",
        "Argo does not accept the workflow: {detail}",
        "correct it; argo lint says more",
    ),
    # Outputs.
    _rule(
        r"(?:cannot|unable to|failed to) (?:save|read|load) (?:parameter|outputs?)"
        r".*?(?P<path>/[^ :\"']+).*no such file",
        "it did not write its output {path}",
        _SEE_LOG,
    ),
    _rule(
        # The emissary's copy of the file (workflow/executor/emissary).
        r"open /var/run/argo/outputs/(?:parameters|artifacts)(?P<path>/[^ :]+?)(?:\.tgz)?: no such file",
        "it did not write its output {path}",
        _SEE_LOG,
    ),
    _rule(
        r"cannot save parameter (?P<path>/[^ :]+)",
        "it did not write its output {path}",
        _SEE_LOG,
    ),
)

#: Reasons that name what the kernel or kubelet did, by the container's reason and exit code.
_OUT_OF_MEMORY: Final = Reason(
    "it needed more memory than its limit allows and was killed",
    "give it a higher memory limit (klever-convert takes -p memory=...)",
)
_SIGNALS: Final = {
    4: "crashed on an instruction that this processor does not have (SIGILL)",
    6: "aborted itself (SIGABRT)",
    7: "crashed on a bus error (SIGBUS), which may tell of a full /dev/shm",
    8: "crashed on an arithmetic error (SIGFPE)",
    9: "was killed from outside (SIGKILL), often for want of memory",
    11: "crashed on an invalid memory access (SIGSEGV)",
    15: "was ended from outside (SIGTERM)",
}
#: Argo's own process around the program ends so where it cannot start it or read its outputs (cmd/argoexec).
_ARGOEXEC_CODE: Final = 64
#: Codes of argoexec and of shells for a program that cannot be started.
_NOT_FOUND: Final = (126, 127)


def explain(message: str, exit_code: int | None = None) -> Reason:
    """Return why a node with this message failed or waits; the message itself where nothing is known about it."""
    text = message.strip().removeprefix("error in entry template execution: ")
    ended = _ENDED.fullmatch(text) or _ENDED.match(text)
    if ended is not None:
        return _of_container(ended)
    for rule in _RULES:
        found = rule.pattern.search(text)
        if found is not None:
            words = {key: printable(value or "unknown", _LONGEST) for key, value in found.groupdict().items()}
            cause = rule.cause.format_map({"image": _image(text), **words})
            return Reason(cause, rule.next_step.format_map(words), rule.temporary)
    if text:
        return _told(text, temporary=exit_code == TEMPORARY_CODE)
    if exit_code:
        return Reason(f"its program ended with exit code {exit_code}", _SEE_LOG, exit_code == TEMPORARY_CODE)
    return Reason("it failed without a message", _SEE_LOG)


def _of_container(ended: re.Match[str]) -> Reason:
    container, reason, code = ended["container"] or "main", ended["reason"], int(ended["code"])
    message = (ended["message"] or "").strip()
    if reason == "OOMKilled":
        return _OUT_OF_MEMORY
    if message and reason != "Error":
        # The kubelet's words, with the reason that the rules know them by.
        return explain(f"{reason}: {message}", code)
    if message and (container in ("init", "wait") or code == _ARGOEXEC_CODE):
        return explain(message)
    if message:
        # What the program itself says stands.
        return _told(message, temporary=code == TEMPORARY_CODE)
    if code > 128 and code - 128 in _SIGNALS:
        return Reason(f"its program {_SIGNALS[code - 128]}", _SEE_LOG)
    if code in _NOT_FOUND:
        return Reason("its program cannot be started", "correct the template's command, or its image")
    temporary = code == TEMPORARY_CODE
    said = "for now" if temporary else "and left no message"
    return Reason(f"its program ended with exit code {code} {said}", _SEE_LOG, temporary)


def _told(message: str, *, temporary: bool) -> Reason:
    """Take a message apart as a step of ours writes it: ``CAUSE; next: NEXT STEP``."""
    cause, _, next_step = message.partition(_NEXT)
    return Reason(printable(cause, _LONGEST), printable(next_step, _LONGEST) or _SEE_LOG, temporary)


def _image(text: str) -> str:
    found = re.search(r"image \\?\"([^\"\\]+)\\?\"", text)
    return f" {printable(found[1], 200)}" if found else ""


def explain_run(run: Run) -> Iterator[tuple[str, Reason]]:
    """Yield, for each cause of a run's failure, the display name of its node and the reason.

    For a workflow that failed before any node was made, the workflow itself.
    """
    causes = list(run.failures())
    for node in causes:
        yield node.display_name, explain(node.message, node.exit_code)
    if not causes and run.phase.is_failure:
        yield run.name, explain(run.message)


def waits_for(node: Node) -> Reason | None:
    """Return why a pod that should have started has not, or None where it starts or just has not yet."""
    # Every pod passes through these: pulling, creating and the init container.
    passing = ("", "PodInitializing", "ContainerCreating")
    if node.phase is not Phase.PENDING or node.message in passing:
        return None
    return explain(node.message, node.exit_code)


def is_temporary(run: Run) -> bool:
    """Return whether a failed run may succeed when nothing but time changes: all its causes are of that kind."""
    reasons = [reason for _, reason in explain_run(run)]
    return bool(reasons) and all(reason.temporary for reason in reasons)
