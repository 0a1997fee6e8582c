"""Workflows are submitted, followed, read, stopped and repeated on a real Argo, over a network that fails."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from clusters import until
from wires import Wire, write_kubeconfig

from klever.api.cli.run import run as klever
from klever.workflows.argo import errors
from klever.workflows.argo.client import WORKFLOW_TEMPLATES, Cluster, Resource, connect
from klever.workflows.argo.control import delete, list_workflows, resubmit, retry, stop
from klever.workflows.argo.logs import Line, Logs
from klever.workflows.argo.server import ArgoServer
from klever.workflows.argo.submit import Identity, from_document, from_template, submit
from klever.workflows.argo.watch import follow, get_run, get_workflow, wait
from klever.workflows.arguments import InvalidArgumentsError
from klever.workflows.status import Phase, Run

pytestmark = pytest.mark.cluster

IMAGE = f"docker.io/klever/steps:{os.environ.get('KLEVER_TEST_IMAGE_TAG') or 'dev'}"
RBAC = "rbac.authorization.k8s.io"
ROLES, BINDINGS = Resource(RBAC, "roles", "v1"), Resource(RBAC, "rolebindings", "v1")
CONFIG_MAPS, ACCOUNTS = Resource("", "configmaps", "v1"), Resource("", "serviceaccounts", "v1")

TEMPLATE = """
metadata: {name: greet}
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
spec:
  entrypoint: main
  onExit: bye
  podGC: {strategy: OnPodCompletion, deleteDelayDuration: 20s}
  arguments:
    parameters: [{name: who}, {name: seconds, value: "0"}, {name: tone, value: warm, enum: [warm, cold]}]
  templates:
    - name: main
      dag:
        tasks:
          - {name: first, template: say, arguments: {parameters: [{name: text, value: one}]}}
          - {name: second, depends: first, template: gate}
      outputs:
        parameters: [{name: greeting, valueFrom: {parameter: "{{tasks.second.outputs.parameters.greeting}}"}}]
    - name: say
      inputs: {parameters: [{name: text}]}
      container: {image: IMAGE, command: [python3, -c], args: ["print('say {{inputs.parameters.text}}')"]}
    - name: gate
      outputs: {parameters: [{name: greeting, valueFrom: {path: /tmp/greeting}}]}
      container:
        image: IMAGE
        env:
          - name: OPEN
            valueFrom: {configMapKeyRef: {name: gate, key: "{{workflow.parameters.who}}", optional: true}}
        command: [python3, -c]
        args:
          - |
            import os, sys, time
            for number in range(int(sys.argv[2])):
                print("line", number, flush=True)
                time.sleep(1)
            if sys.argv[1].startswith("closed") and not os.environ.get("OPEN"):
                open("/dev/termination-log", "w").write("gate: it is closed; next: open it")
                sys.exit(1)
            open("/tmp/greeting", "w").write("hello " + sys.argv[1])
          - "{{workflow.parameters.who}}"
          - "{{workflow.parameters.seconds}}"
    - name: bye
      container: {image: IMAGE, command: [python3, -c], args: ["print('bye {{workflow.status}}')"]}
"""


@pytest.fixture(scope="module")
def place(cluster: Cluster, namespace: str) -> str:
    """A namespace with the template and the rights that Argo's executor needs."""
    rules = [{"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}]
    grant(cluster, namespace, "default", "executor", rules)
    template = yaml.safe_load(TEMPLATE.replace("image: IMAGE", f"image: {IMAGE}"))
    cluster.create(WORKFLOW_TEMPLATES.path(namespace), template)
    return namespace


def grant(cluster: Cluster, namespace: str, account: str, role: str, rules: list[dict[str, Any]]) -> None:
    cluster.create(ROLES.path(namespace), {"metadata": {"name": role}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    reference = {"apiGroup": RBAC, "kind": "Role", "name": role}
    cluster.create(BINDINGS.path(namespace), {"metadata": {"name": role}, "roleRef": reference, "subjects": [subject]})


def token(cluster: Cluster, namespace: str, account: str) -> str:
    """Make an account and return a token for it."""
    cluster.create(ACCOUNTS.path(namespace), {"metadata": {"name": account}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    return str(cluster.create(ACCOUNTS.path(namespace, account, "token"), request)["status"]["token"])


def begin(cluster: Cluster, place: str, who: str = "Ada", **arguments: str) -> str:
    return submit(cluster, from_template("greet", {"who": who, **arguments}), place).name


def named(run: Run) -> dict[str, Phase]:
    return {node.name.removeprefix(f"{run.name}."): node.phase for node in run.nodes.values()}


def test_a_run_is_submitted_from_its_template_and_waited_for(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = klever(["run", "greet", "--on", "argo", "-n", place, "-p", "who=Ada", "--wait", "--json", "-l", "mine=x"])
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (document["phase"], document["outputs"]) == ("Succeeded", {"greeting": "hello Ada"})
    by_name = {node["displayName"]: node for node in document["nodes"]}
    assert by_name["second"]["phase"] == "Succeeded"
    assert any(name.endswith("onExit") for name in by_name)


def test_what_is_wrong_is_told_before_anything_is_created(cluster: Cluster, place: str) -> None:
    before = len(list_workflows(cluster, place))
    with pytest.raises(InvalidArgumentsError) as caught:
        submit(cluster, from_template("greet", {"whoo": "x", "tone": "hot"}), place)
    assert len(caught.value.faults) == 3
    with pytest.raises(errors.TemplateMissingError, match="it has greet"):
        submit(cluster, from_template("grett", {}), place)
    assert len(list_workflows(cluster, place)) == before


def test_a_document_that_the_api_server_refuses_is_told_with_its_words(cluster: Cluster, place: str) -> None:
    document = {"kind": "Workflow", "metadata": {"name": "odd"}, "spec": {"entrypoint": ["no text"]}}
    with pytest.raises(errors.InvalidWorkflowError, match=r"spec\.entrypoint"):
        submit(cluster, from_document(document | {"apiVersion": "argoproj.io/v1alpha1"}, {}), place)


def test_a_document_that_the_controller_refuses_fails_with_its_words(cluster: Cluster, place: str) -> None:
    spec = {"entrypoint": "main", "templates": [{"name": "other", "container": {"image": "x"}}]}
    document = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {}, "spec": spec}
    run = wait(cluster, submit(cluster, from_document(document, {}), place).name, place)
    assert run.phase is Phase.FAILED
    assert "main" in run.message


def test_the_same_name_twice_is_one_run(cluster: Cluster, place: str) -> None:
    workflow = from_template("greet", {"who": "Ada"}, Identity(name="once", labels={"a": "b"}))
    first = submit(cluster, workflow, place)
    wait(cluster, "once", place)
    # Argo has written labels, annotations and a status in between.
    again = submit(cluster, workflow, place)
    assert (again.found, again.uid) == (True, first.uid)
    with pytest.raises(errors.NameTakenError):
        submit(cluster, from_template("greet", {"who": "Bob"}, Identity(name="once")), place)


def test_a_workflow_goes_with_its_owner(cluster: Cluster, place: str) -> None:
    owner = cluster.create(CONFIG_MAPS.path(place), {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    name = submit(cluster, from_template("greet", {"who": "Ada"}, Identity(owners=(reference,))), place).name
    cluster.delete(CONFIG_MAPS.path(place, "owner"))
    until(lambda: name not in {each.name for each in list_workflows(cluster, place)}, "the workflow's going")


def test_a_retry_in_place_keeps_what_succeeded(cluster: Cluster, place: str) -> None:
    name = begin(cluster, place, "closed-once")
    failed = wait(cluster, name, place)
    assert failed.phase is Phase.FAILED
    assert [node.display_name for node in failed.failures()] == ["second"]
    cluster.create(CONFIG_MAPS.path(place), {"metadata": {"name": "gate"}, "data": {"closed-once": "yes"}})
    retry(cluster, name, place)
    done = wait(cluster, name, place)
    assert done.phase is Phase.SUCCEEDED, done.message
    assert done.outputs == {"greeting": "hello closed-once"}
    first = {node.name: node for node in failed.nodes.values()}[f"{name}.first"]
    assert {node.name: node for node in done.nodes.values()}[f"{name}.first"].started == first.started
    assert named(done)["onExit"] is Phase.SUCCEEDED
    with pytest.raises(errors.WrongPhaseError):
        retry(cluster, name, place)


def test_a_run_is_resubmitted_with_other_arguments(cluster: Cluster, place: str) -> None:
    name = begin(cluster, place)
    wait(cluster, name, place)
    again = resubmit(cluster, name, place, {"who": "Cy"})
    assert again.name != name
    assert wait(cluster, again.name, place).outputs == {"greeting": "hello Cy"}
    labels = get_workflow(cluster, again.name, place)["metadata"]["labels"]
    assert labels["workflows.argoproj.io/resubmitted-from-workflow"] == name


@pytest.mark.parametrize("terminate", [False, True])
def test_a_run_is_stopped_with_or_without_its_exit_handler(cluster: Cluster, place: str, terminate: bool) -> None:
    name = begin(cluster, place, seconds="600")
    until(lambda: named(get_run(cluster, name, place)).get("second") is Phase.RUNNING, "the second step's start")
    stop(cluster, name, place, terminate=terminate)
    run = wait(cluster, name, place)
    assert run.phase is Phase.FAILED
    assert "onExit" not in named(run) if terminate else named(run)["onExit"] is Phase.SUCCEEDED
    with pytest.raises(errors.WrongPhaseError, match="over already"):
        stop(cluster, name, place)


def test_a_deleted_workflow_is_no_longer_waited_for(cluster: Cluster, place: str) -> None:
    name = begin(cluster, place, seconds="600")
    runs = follow(cluster, name, place)
    next(runs)
    delete(cluster, name, place)
    with pytest.raises(errors.WorkflowDeletedError):
        list(runs)
    with pytest.raises(errors.WorkflowMissingError):
        delete(cluster, name, place)


def read(cluster: Cluster, name: str, place: str) -> tuple[list[Line], list[str]]:
    lines: list[Line] = []
    notes: list[str] = []
    with Logs(cluster, name, place, on_line=lines.append, on_note=notes.append):
        wait(cluster, name, place)
    return lines, notes


def test_the_logs_of_all_pods_come_as_they_start_though_pods_are_cleaned_up(cluster: Cluster, place: str) -> None:
    lines, notes = read(cluster, begin(cluster, place, seconds="3"), place)
    assert sorted(line.text for line in lines) == ["bye Succeeded", "line 0", "line 1", "line 2", "say one"]
    assert notes == []
    assert [line.text for line in lines if line.text.startswith("line")] == ["line 0", "line 1", "line 2"]


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Callable[..., Path]:
    """Write the kubeconfig of this cluster anew, with another address or another user."""
    return partial(write_kubeconfig, tmp_path / "kubeconfig")


def connected(path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    return connect()


def test_a_connection_that_is_lost_again_and_again_loses_no_line_and_no_end(
    cluster: Cluster, place: str, kubeconfig: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = urlsplit(cluster.address)
    assert address.hostname is not None
    wire = Wire((address.hostname, address.port or 443))
    far = connected(kubeconfig(wire.port), monkeypatch)
    name = begin(cluster, place, seconds="12")
    over = threading.Event()

    def cut() -> None:
        while not over.wait(2):
            with wire.down():
                over.wait(1)

    cutter = threading.Thread(target=cut, daemon=True)
    cutter.start()
    try:
        lines, _ = read(far, name, place)
    finally:
        over.set()
        cutter.join()
        wire.close()
    assert get_run(cluster, name, place).phase is Phase.SUCCEEDED
    assert [line.text for line in lines if line.text.startswith("line")] == [f"line {number}" for number in range(12)]


def test_a_right_that_is_missing_is_named(
    cluster: Cluster, place: str, kubeconfig: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = [{"apiGroups": ["argoproj.io"], "resources": ["workflowtemplates"], "verbs": ["get", "list"]}]
    user = {"token": token(cluster, place, "reader")}
    grant(cluster, place, "reader", "reader", reader)
    with connected(kubeconfig(user=user), monkeypatch) as limited:
        with pytest.raises(errors.ForbiddenError) as caught:
            submit(limited, from_template("greet", {"who": "x"}), place)
        assert caught.value.cause == (
            f"system:serviceaccount:{place}:reader may not create workflows.argoproj.io in namespace {place}"
        )
    with (
        connected(kubeconfig(user={"token": "nonsense"}), monkeypatch) as stranger,
        pytest.raises(errors.ClusterUnauthorizedError),
    ):
        list_workflows(stranger, place)


def test_the_argo_server_reads_and_retries_what_only_it_can(cluster: Cluster, place: str) -> None:
    if not os.environ.get("ARGO_SERVER"):
        pytest.skip("needs the Argo server that ARGO_SERVER names")
    everything = [
        {"apiGroups": ["argoproj.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["*"]},
    ]
    bearer = f"Bearer {token(cluster, place, 'operator')}"
    grant(cluster, place, "operator", "operator", everything)
    server = ArgoServer(f"http://{os.environ['ARGO_SERVER']}", bearer)
    name = begin(cluster, place, "closed-for-ever")
    wait(cluster, name, place)
    assert server.get_workflow(name, place)["status"]["phase"] == "Failed"
    assert server.retry_workflow(name, place)["status"]["phase"] == "Running"
    assert wait(cluster, name, place).phase is Phase.FAILED


def call(place: str, *arguments: str) -> subprocess.Popen[str]:
    code = "from klever.api.cli import main; main()"
    command = [sys.executable, "-c", code, "run", "greet", "--on", "argo", "-n", place, "-p", "who=Ada", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("cancel", [False, True])
def test_ctrl_c_leaves_the_workflow_to_run_unless_it_is_to_be_cancelled(
    cluster: Cluster, place: str, cancel: bool
) -> None:
    name = "cancelled" if cancel else "left-alone"
    process = call(place, "-p", "seconds=600", "--name", name, "--wait", *(["--cancel-on-interrupt"] if cancel else []))
    deadline = time.monotonic() + 120
    until(lambda: name in {each.name for each in list_workflows(cluster, place)}, "the submission", 60)
    until(lambda: named(get_run(cluster, name, place)).get("second") is Phase.RUNNING, "the second step's start", 120)
    time.sleep(max(0.0, min(2.0, deadline - time.monotonic())))
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    phase = get_run(cluster, name, place).phase
    if cancel:
        assert phase is Phase.FAILED
    else:
        assert phase is Phase.RUNNING
        assert f"klever workflows stop {name}" in told
        stop(cluster, name, place, terminate=True)
