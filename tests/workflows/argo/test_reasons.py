"""Why a node failed or waits, in a sentence for a person, from what Argo and Kubernetes left."""

import pytest

from klever.workflows.argo.reasons import Reason, explain, explain_run, is_temporary, waits_for
from klever.workflows.argo.status import parse_run
from klever.workflows.status import Kind, Node, Phase, Run

from .conftest import Recorded

#: Workflow that a real Argo has ended: the sentence, what to do begins with, temporary.
ENDED = {
    "nobody-there": ("greet: nobody is there", "come back later", True),
    "mixed": ("convert: the model is malformed", "save it again", False),
    "out-of-memory": ("it needed more memory than its limit allows and was killed", "give it a higher memory limit", False),
    "late": ("it ran longer than its deadline allows", "give it a longer deadline", False),
    "late-as-a-whole": ("it ran longer than its deadline allows", "give it a longer deadline", False),
    "stopped": ("it was stopped because the workflow was", "klever workflows retry", False),
    "crashed": ("its program crashed on an invalid memory access (SIGSEGV)", "see its log", False),
    "no-program": ("its image has no program /no/such/program", "correct the template's command", False),
    "no-output": ("it did not write its output /tmp/none", "see its log", False),
    "no-account": ("its service account nobody does not exist in the namespace", "create the service account", False),
    "no-rights": ("its service account may not report results to Argo", "give the service account the right", False),
    "no-argument": ("its argument who has no value", "give it with -p who=VALUE", False),
    "no-such-template": ("WorkflowTemplate gret does not exist in the namespace", "apply it", False),
    "not-valid": ("Argo does not accept the workflow: templates.main: failed to resolve {{inputs.parameters.nope}}", "correct it", False),
    "no-command": (
        "Argo could not ask the registry what image docker.io/klever/nothing:1 starts, which it has to where a template has no command", "give the template's container a command", False,
    ),
}  # fmt: skip

WAITING = {
    "no-image": "its image docker.io/klever/nothing:1 cannot be pulled",
    "image-not-loaded": "its image docker.io/klever/nothing:1 is not on the node, and the pull policy is Never",
    "no-secret": 'its container cannot be set up: secret "nope" not found',
    "too-large": "no node of the cluster can take it: 1 Insufficient memory",
    "over-quota": "the namespace's quota is used up: small, requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=0, limited: requests.nvidia.com/gpu=0",
}  # fmt: skip


@pytest.mark.parametrize("name", ENDED)
def test_a_recorded_failure_has_one_clear_sentence(recorded: Recorded, name: str) -> None:
    run = parse_run(recorded(name))
    ((_, reason),) = explain_run(run)
    cause, next_step, temporary = ENDED[name]
    assert reason.cause == cause
    assert reason.next_step.startswith(next_step)
    assert is_temporary(run) is temporary


@pytest.mark.parametrize("name", WAITING)
def test_a_recorded_pod_that_does_not_start_says_what_it_waits_for(recorded: Recorded, name: str) -> None:
    (node,) = parse_run(recorded(name)).nodes.values()
    reason = waits_for(node)
    assert reason is not None
    assert reason.cause == WAITING[name]
    assert reason.next_step


#: Messages of kubelets, schedulers and admission that this cluster does not give, from their sources and issue threads.
MESSAGES = {
    'ImagePullBackOff: Back-off pulling image "ghcr.io/a/b:1": ErrImagePull: failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized': "the registry does not let the node pull its image ghcr.io/a/b:1",
    'ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image "docker.io/a/b:1": docker.io/a/b:1: not found': "its image docker.io/a/b:1 does not exist",
    'InvalidImageName: Failed to apply default image tag "A B": couldn\'t parse image reference "A B"': "its image's name is not valid",
    "Unschedulable: 0/3 nodes are available: 1 node(s) had untolerated taint {gpu: true}, 2 Insufficient cpu. preemption: 0/3 nodes are available": "no node of the cluster can take it: 1 node(s) had untolerated taint {gpu: true}, 2 Insufficient cpu",
    "Unschedulable": "no node of the cluster can take it: unknown",
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 0. Container main was using 2Gi": "it was evicted because its node ran short of memory",
    "Pod was rejected: Node is shutting down": "its pod was taken off its node",
    "main: ContainerStatusUnknown (exit code 137): The container could not be located when the pod was terminated": "its pod was deleted while it ran",
    "Waiting for models/Mutex/klever/harbor.example/vision/net:v1 lock. Lock status: 0/1": "another workflow holds the lock klever/harbor.example/vision/net:v1",
    "pod deleted": "its pod was deleted while it ran",
    "Max duration limit exceeded": "it ran longer than its deadline allows",
    "main: Error (exit code 137)": "its program was killed from outside (SIGKILL), often for want of memory",
    "main: Error (exit code 143)": "its program was ended from outside (SIGTERM)",
    "main: Error (exit code 75)": "its program ended with exit code 75 for now",
    "main: Error (exit code 3)": "its program ended with exit code 3 and left no message",
    "Error (exit code 1): read: the file ends early; next: get it again": "read: the file ends early",
    'main: StartError (exit code 128): failed to create containerd task: exec: "klever-tsk": executable file not found in $PATH: unknown': "its image has no program klever-tsk",
    'pods "x" is forbidden: User "system:serviceaccount:n:default" cannot create resource "pods"': "its service account may not create pods",
    "child 'klever-extract-5pdk4-1608180940' failed": "a part of it failed",
    "something that nobody has seen before": "something that nobody has seen before",
    "": "it failed without a message",
}  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES)
def test_other_messages_are_translated_as_well(message: str) -> None:
    assert explain(message).cause == MESSAGES[message]


def test_the_words_of_a_step_stand_and_are_not_taken_for_the_clusters() -> None:
    told = explain("main: Error (exit code 1): push: the registry says Evicted, exceeded quota: 5 GB; next: make room")
    assert told == Reason("push: the registry says Evicted, exceeded quota: 5 GB", "make room")


def test_only_a_temporary_cause_alone_makes_a_failure_temporary() -> None:
    def node(name: str, message: str) -> Node:
        return Node(name, f"w.{name}", name, Kind.POD, Phase.FAILED, message)

    temporary, lasting = node("a", "main: Error (exit code 75)"), node("b", "main: Error (exit code 1)")
    assert is_temporary(Run("w", phase=Phase.FAILED, nodes={"a": temporary}))
    assert not is_temporary(Run("w", phase=Phase.FAILED, nodes={"a": temporary, "b": lasting}))
    assert not is_temporary(Run("w", phase=Phase.FAILED, message="invalid spec: x"))


@pytest.mark.parametrize("message", ["", "PodInitializing", "ContainerCreating"])
def test_a_pod_that_only_begins_waits_for_nothing(message: str) -> None:
    assert waits_for(Node("a", "w", "w", Kind.POD, Phase.PENDING, message)) is None


def test_a_message_of_any_length_becomes_a_short_line() -> None:
    told = explain("main: Error (exit code 1): " + "x\n\x1b[2J" * 10_000)
    assert len(told.cause) < 500
    assert told.cause.isprintable()
