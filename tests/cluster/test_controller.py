"""ModelJobs on a real cluster, with a controller that is a process of this test: to their end, through every fault."""

import json
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import yaml
from clusters import Installation, apply_crd, has_image, install, lack, restart_argo, temporary_namespace, until
from controllers import Controller, controller
from wires import Wire, write_kubeconfig

from klever.api.controller.told import EVENTS
from klever.api.modeljob.model import MODEL_JOBS
from klever.api.modeljob.names import JOB_UID
from klever.workflows.argo.client import PODS, WORKFLOW_TEMPLATES, WORKFLOWS, Cluster, Resource
from klever.workflows.argo.errors import ClusterObjectMissingError
from klever.workflows.manifest import Document

pytestmark = pytest.mark.cluster

IMAGE = f"docker.io/klever/steps:{os.environ.get('KLEVER_TEST_IMAGE_TAG') or 'dev'}"
ACCOUNTS, CONFIG_MAPS = Resource("", "serviceaccounts", "v1"), Resource("", "configmaps", "v1")
RBAC = "rbac.authorization.k8s.io"
ROLES, BINDINGS = Resource(RBAC, "roles", "v1"), Resource(RBAC, "rolebindings", "v1")

#: Says what it is told, after a while, in a pod that wants what it is told to want.
SAY = """
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: say}
spec:
  entrypoint: main
  serviceAccountName: klever-step
  executor: {serviceAccountName: klever-executor}
  arguments:
    parameters:
      - {name: text, value: hello}
      - {name: seconds, value: "0"}
      - {name: image, value: IMAGE}
      - {name: cpu, value: 10m}
      - {name: bytes, value: "0"}
  templates:
    - name: main
      steps: [[{name: say, template: say}]]
      outputs: {parameters: [{name: said, valueFrom: {parameter: "{{steps.say.outputs.parameters.said}}"}}]}
    - name: say
      outputs: {parameters: [{name: said, valueFrom: {path: /tmp/said}}]}
      podSpecPatch: |
        {"containers": [{"name": "main", "resources": {
          "requests": {"cpu": "{{workflow.parameters.cpu}}", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}}]}
      container:
        image: "{{workflow.parameters.image}}"
        imagePullPolicy: IfNotPresent
        command: [python3, -c]
        args:
          - |
            import sys, time
            time.sleep(float(sys.argv[2]))
            waste = b"x" * int(sys.argv[3])
            open("/tmp/said", "w").write(sys.argv[1])
          - "{{workflow.parameters.text}}"
          - "{{workflow.parameters.seconds}}"
          - "{{workflow.parameters.bytes}}"
"""


@dataclass(frozen=True)
class Jobs:
    """The ModelJobs of a namespace."""

    cluster: Cluster
    namespace: str

    def create(self, name: str = "", /, **spec: Any) -> str:
        """Make a job and return its name."""
        name = name or f"job-{uuid4().hex[:8]}"
        document = {"apiVersion": "kleveross.io/v1alpha1", "kind": "ModelJob", "metadata": {"name": name}, "spec": spec}
        self.cluster.create(MODEL_JOBS.path(self.namespace), document)
        return name

    def say(self, name: str = "", /, ttl: int | None = None, **arguments: str) -> str:
        """Make a job that says something."""
        rest = {} if ttl is None else {"ttlSecondsAfterFinished": ttl}
        return self.create(name, pipeline={"template": "say", "arguments": arguments}, **rest)

    def get(self, name: str) -> Document:
        """Return a job as it is now."""
        return self.cluster.get(MODEL_JOBS.path(self.namespace, name))

    def status(self, name: str) -> Document:
        """Return its status as it is now."""
        return self.get(name).get("status") or {}

    def wait(self, name: str, *phases: str) -> Document:
        """Wait until a job is in one of these phases and return its status."""
        until(lambda: self.status(name).get("phase") in phases, f"job {name} until it is {' or '.join(phases)}", 240)
        return self.status(name)

    def workflows(self, name: str) -> list[Document]:
        """Return the Workflows of a job."""
        selector = {"labelSelector": f"{JOB_UID}={self.get(name)['metadata']['uid']}"}
        return self.cluster.list_all(WORKFLOWS.path(self.namespace), selector)[0]

    def pods(self, workflow: str) -> list[Document]:
        """Return the pods of a Workflow."""
        selector = {"labelSelector": f"workflows.argoproj.io/workflow={workflow}"}
        return self.cluster.list_all(PODS.path(self.namespace), selector)[0]

    def events(self, name: str) -> list[tuple[str, str, str]]:
        """Return what events say of a job, with their types and reasons."""
        about = {"fieldSelector": f"involvedObject.kind=ModelJob,involvedObject.name={name}"}
        found, _ = self.cluster.list_all(EVENTS.path(self.namespace), about)
        return [(each["type"], each["reason"], each["message"]) for each in found]

    def delete(self, name: str) -> None:
        """Delete a job."""
        self.cluster.delete(MODEL_JOBS.path(self.namespace, name))

    def exists(self, name: str) -> bool:
        """Say whether there is such a job."""
        with suppress(ClusterObjectMissingError):
            self.get(name)
            return True
        return False


def furnish(cluster: Cluster, namespace: str) -> Jobs:
    """Put Klever's templates, and one that says something, into a namespace."""
    install(namespace)
    cluster.create(WORKFLOW_TEMPLATES.path(namespace), yaml.safe_load(SAY.replace("IMAGE", IMAGE)))
    return Jobs(cluster, namespace)


@pytest.fixture(scope="module")
def jobs(cluster: Cluster, namespace: str) -> Jobs:
    """A namespace with what jobs need, in a cluster that knows them."""
    if shutil.which("kubectl") is None:
        lack("kubectl on the PATH")
    apply_crd()
    return furnish(cluster, namespace)


@pytest.fixture(scope="module")
def running(jobs: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """A controller for the tests of this module that leave it running, or start it again."""
    with controller(tmp_path_factory.mktemp("controller") / "log", [jobs.namespace]) as replica:
        yield replica
        complaints = replica.complaints()
        assert replica.stop() == 0
    # kopf tells of a connection that the API server ends while it reads the definition again.
    assert [line for line in complaints if not line["logger"].startswith("kopf")] == []


@pytest.fixture(scope="module")
def model(klever: Installation, models: Path) -> Callable[[], str]:
    """Publish a model whose signature nobody has read, under a name of its own, and return what pods call it."""

    def publish() -> str:
        name = f"jobs/mlp-{uuid4().hex[:8]}:v1"
        klever.registry.publish_unread(models / "MXNetParams" / "mlp" / "model", name)
        return klever.registry.reference(name)

    return publish


@pytest.fixture(scope="module")
def klever(cluster: Cluster, cluster_registry: Any, jobs: Jobs) -> Installation:
    """The namespace of this module as the other tests of the cluster have theirs."""
    return Installation(cluster, cluster_registry, jobs.namespace)


def kubectl(jobs: Jobs, *arguments: str, document: Document | None = None) -> str:
    """Run kubectl in the namespace and return what it prints."""
    done = subprocess.run(
        ["kubectl", "--namespace", jobs.namespace, *arguments],
        input=None if document is None else json.dumps(document),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_pipeline_runs_to_its_end(jobs: Jobs, running: Controller) -> None:
    name = jobs.say(text="good morning")
    kubectl(jobs, "wait", "--for=condition=Succeeded", f"modeljob/{name}", "--timeout=240s")
    job = jobs.get(name)
    (workflow,) = jobs.workflows(name)
    assert job["status"]["workflow"] == workflow["metadata"]["name"]
    assert job["status"]["result"] == {"outputs": {"said": "good morning"}}
    assert job["status"]["observedGeneration"] == 1
    assert [event[:2] for event in jobs.events(name)] == [("Normal", "Succeeded")]
    # Nothing is kept in what belongs to somebody else.
    assert not {"annotations", "finalizers", "labels"} & job["metadata"].keys()
    assert "Succeeded" in kubectl(jobs, "describe", f"modeljob/{name}")


def test_an_extraction_gives_the_signature(
    jobs: Jobs, running: Controller, klever: Installation, model: Callable[[], str]
) -> None:
    reference = model()
    name = jobs.create(model=reference, extraction={"format": "MXNetParams"})
    status = jobs.wait(name, "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", status["message"]
    artifact = klever.registry.load(reference)
    assert status["result"]["digest"] == artifact.descriptor.digest
    assert status["result"]["format"] == "MXNetParams"
    assert " -> " in status["result"]["signature"]
    assert artifact.metadata.signature is not None


def test_a_conversion_gives_a_proven_model(jobs: Jobs, running: Controller, model: Callable[[], str]) -> None:
    if not has_image("convert"):
        pytest.skip("the nodes have no image convert")
    reference = model()
    wanted = reference.replace(":v1", "-onnx:v1")
    formats = {"from": "MXNetParams", "to": "ONNX"}
    name = jobs.create(model=reference, desiredTag=wanted, conversion={"mmdnn": formats})
    status = jobs.wait(name, "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", status["message"]
    assert status["result"]["format"] == "ONNX"
    assert status["result"]["reference"].startswith(wanted.removesuffix(":v1"))
    assert status["result"]["certificate"]["level"] == "compared"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": "docker.io/klever/none:none"}, "docker.io/klever/none:none"),
        ({"cpu": "1000"}, "no node of the cluster can take it: Insufficient cpu (Unschedulable)"),
    ],
    ids=["ErrImagePull", "Unschedulable"],
)
def test_why_a_pod_does_not_start_is_told(
    jobs: Jobs, running: Controller, arguments: dict[str, str], message: str
) -> None:
    name = jobs.say(**arguments)
    until(lambda: "; next: " in jobs.status(name).get("message", ""), "the reason", 120)
    status = jobs.status(name)
    assert status["phase"] == "Pending"
    assert status["message"].startswith("say: waits: ")
    assert message.removeprefix("no node of the cluster can take it: ").split(" (")[0] in status["message"]
    assert jobs.events(name) == []
    jobs.delete(name)


def test_a_step_without_enough_memory_says_so(jobs: Jobs, running: Controller) -> None:
    name = jobs.say(bytes=str(512 << 20))
    status = jobs.wait(name, "Failed", "Succeeded")
    sentence = "say: it needed more memory than its limit allows and was killed (OOMKilled); next: "
    assert status["message"].startswith(sentence)
    assert [event[:2] for event in jobs.events(name)] == [("Warning", "Failed")]
    assert next(each for each in status["conditions"] if each["type"] == "Failed")["reason"] == "OOMKilled"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"model": "harbor.example/a/b:v1", "extraction": {}, "env": [{"name": "INPUTS", "value": "{"}]},
            "job: INPUTS of spec.env",
        ),
        ({"model": "harbor.example/a/b:v1", "deployment": {}, "nonsense": {"a": [1]}}, "submit: namespace "),
        ({"pipeline": {"template": "say", "arguments": {"txt": "hi"}}}, "arguments: "),
        ({"model": "harbor.example/a/b:v1", "extraction": {}, "initContainer": [{"name": "x"}]}, "job: spec.init"),
    ],
)
def test_a_job_that_cannot_be_run_says_so_and_keeps_no_other_waiting(
    jobs: Jobs, running: Controller, spec: Document, message: str
) -> None:
    name = f"bad-{uuid4().hex[:8]}"
    document = {"apiVersion": "kleveross.io/v1alpha1", "kind": "ModelJob", "metadata": {"name": name}, "spec": spec}
    kubectl(jobs, "apply", "--validate=false", "--filename=-", document=document)
    other = jobs.say()
    if "deployment" in spec:
        # Its template may still come.
        until(lambda: jobs.status(name).get("message", "").startswith(message), "the reason", 30)
        assert jobs.status(name)["phase"] == "Pending"
    status = jobs.wait(name, "Failed")
    assert status["message"].startswith(message)
    assert "; next: " in status["message"]
    assert [event[:2] for event in jobs.events(name)] == [("Warning", "Failed")]
    assert jobs.wait(other, "Succeeded", "Failed")["phase"] == "Succeeded"


def test_a_job_that_is_deleted_while_it_runs_leaves_nothing(jobs: Jobs, running: Controller) -> None:
    name = jobs.say(seconds="300")
    workflow = jobs.wait(name, "Running")["workflow"]
    until(lambda: jobs.pods(workflow), "its pod")
    jobs.delete(name)
    path = WORKFLOWS.path(jobs.namespace)
    until(lambda: all(each["metadata"]["name"] != workflow for each in jobs.cluster.list_all(path)[0]), "its Workflow")
    until(lambda: not jobs.pods(workflow), "the end of its pod")
    assert not jobs.exists(name)


def test_a_job_that_is_changed_while_it_runs_begins_anew(jobs: Jobs, running: Controller) -> None:
    name = jobs.say(seconds="300")
    first = jobs.wait(name, "Running")["workflow"]
    change = {"spec": {"pipeline": {"arguments": {"seconds": "0", "text": "again"}}}}
    jobs.cluster.merge(MODEL_JOBS.path(jobs.namespace, name), change)
    until(lambda: jobs.status(name).get("observedGeneration") == 2, "the new generation")
    status = jobs.wait(name, "Succeeded", "Failed")
    assert (status["phase"], status["result"]["outputs"]) == ("Succeeded", {"said": "again"})
    assert status["workflow"] != first
    stopped = jobs.cluster.get(WORKFLOWS.path(jobs.namespace, first))
    assert stopped["spec"]["shutdown"] == "Stop"
    assert [event[1] for event in jobs.events(name)] == ["Succeeded"]


def test_a_job_goes_when_its_time_is_over_and_takes_its_workflow(jobs: Jobs, running: Controller) -> None:
    name = jobs.say(ttl=5)
    jobs.wait(name, "Succeeded")
    (workflow,) = jobs.workflows(name)
    until(lambda: not jobs.exists(name), "the end of its time", 30)
    until(lambda: not jobs.pods(workflow["metadata"]["name"]), "the end of its pods")


def test_a_workflow_that_somebody_deletes_ends_the_job_with_a_sentence(jobs: Jobs, running: Controller) -> None:
    name = jobs.say(seconds="300")
    workflow = jobs.wait(name, "Running")["workflow"]
    jobs.cluster.delete(WORKFLOWS.path(jobs.namespace, workflow))
    status = jobs.wait(name, "Failed")
    assert "its Workflow was deleted before its end was seen; next: create the job again" in status["message"]


def test_a_quota_that_is_used_up_is_waited_for(jobs: Jobs, running: Controller) -> None:
    quotas = Resource("", "resourcequotas", "v1")
    limit = {"metadata": {"name": "none"}, "spec": {"hard": {"count/workflows.argoproj.io": "0"}}}
    jobs.cluster.create(quotas.path(jobs.namespace), limit)
    try:
        # The API server counts what there is before it refuses.
        until(lambda: (jobs.cluster.get(quotas.path(jobs.namespace, "none")).get("status") or {}).get("used"), "counts")
        name = jobs.say()
        until(lambda: "quota is used up" in jobs.status(name).get("message", ""), "the reason", 30)
        assert jobs.status(name)["phase"] == "Pending"
    finally:
        jobs.cluster.delete(quotas.path(jobs.namespace, "none"))
    assert jobs.wait(name, "Succeeded", "Failed")["phase"] == "Succeeded"


def test_health_and_numbers_are_told(jobs: Jobs, running: Controller) -> None:
    jobs.wait(jobs.say(), "Succeeded")
    assert running.ask("/healthz") == (200, "ok\n")
    assert running.ask("/readyz") == (200, "ok\n")
    until(lambda: running.number("klever_modeljobs", phase="Succeeded") >= 1, "a number", 10)
    assert running.number("klever_controller_leads") == 1
    assert running.number("klever_modeljob_queue_seconds_count") >= 1
    assert running.number("klever_modeljob_stage_seconds_count", stage="say") >= 1


def check_done(jobs: Jobs, names: list[str]) -> None:
    """Check that each job has succeeded by one Workflow, and was told of once."""
    for name in names:
        status = jobs.wait(name, "Succeeded", "Failed")
        assert status["phase"] == "Succeeded", status["message"]
        assert len(jobs.workflows(name)) == 1
        assert [event[1] for event in jobs.events(name)] == ["Succeeded"]


def test_a_controller_that_is_killed_again_and_again_does_everything_once(
    cluster: Cluster, jobs: Jobs, tmp_path: Path
) -> None:
    dice = random.Random(7)
    with temporary_namespace(cluster, "klever-test") as namespace:
        there = furnish(cluster, namespace)
        replica = Controller(tmp_path / "log", [namespace])
        names: list[str] = []
        for _ in range(6):
            names.append(there.say())
            replica.start(leads=False)
            # While it waits for the lease of its predecessor, then at some moment of its work.
            until(lambda: replica.leads, "the lead", 40)
            time.sleep(dice.uniform(0, 2.5))
            replica.kill()
        replica.start()
        try:
            check_done(there, names)
        finally:
            replica.kill()


def test_of_two_replicas_one_leads_and_the_other_follows_whatever_ends_it(
    cluster: Cluster, jobs: Jobs, tmp_path: Path
) -> None:
    with temporary_namespace(cluster, "klever-test") as namespace:
        there = furnish(cluster, namespace)
        one, other = (Controller(tmp_path / name, [namespace]) for name in ("one", "other"))
        one.start()
        other.start(leads=False)
        try:
            first = there.say()
            there.wait(first, "Succeeded")
            assert not other.leads
            assert other.ask("/readyz") == (200, "ok\n")
            assert other.number("klever_controller_leads") == 0
            one.kill()
            second = there.say()
            killed = time.monotonic()
            until(lambda: other.leads, "the follower of who was killed", 40)
            assert time.monotonic() - killed < 25
            one.start(leads=False)
            assert other.stop() == 0
            ended = time.monotonic()
            until(lambda: one.leads, "the follower of who ended", 30)
            assert time.monotonic() - ended < 8
            check_done(there, [first, second, there.say()])
        finally:
            one.kill()
            other.kill()


def test_argos_restart_costs_no_job(jobs: Jobs, running: Controller, cluster: Cluster) -> None:
    names = [jobs.say(seconds="8") for _ in range(2)]
    for name in names:
        jobs.wait(name, "Running")
    restart_argo(cluster)
    names.append(jobs.say())
    check_done(jobs, names)


def test_an_api_server_that_is_away_is_waited_for_and_for_long_ends_the_leader(
    cluster: Cluster, jobs: Jobs, tmp_path: Path
) -> None:
    address = urlsplit(cluster.address)
    assert address.hostname is not None
    wire = Wire((address.hostname, address.port or 443))
    # kopf cannot be told another name of the server than its address.
    config = write_kubeconfig(tmp_path / "kubeconfig", wire.port, unchecked=True)
    environment = {"KUBECONFIG": str(config), "PYTHONWARNINGS": "ignore"}
    with temporary_namespace(cluster, "klever-test") as namespace:
        there = furnish(cluster, namespace)
        replica = Controller(tmp_path / "log", [namespace], environment=environment)
        replica.start()
        try:
            names = [there.say()]
            with wire.down():
                names.append(there.say())
                time.sleep(4)
            check_done(there, names)
            with wire.down():
                names.append(there.say())
                assert replica.wait(60) == 3
            replica.start()
            check_done(there, names)
        finally:
            replica.kill()
            wire.close()


def test_it_needs_no_right_beyond_its_namespaces(cluster: Cluster, jobs: Jobs, tmp_path: Path) -> None:
    rules = [
        {"apiGroups": ["kleveross.io"], "resources": ["modeljobs"], "verbs": ["delete", "get", "list", "watch"]},
        {"apiGroups": ["kleveross.io"], "resources": ["modeljobs/status"], "verbs": ["patch"]},
        {
            "apiGroups": ["argoproj.io"],
            "resources": ["workflows"],
            "verbs": ["create", "delete", "get", "list", "patch", "watch"],
        },
        {"apiGroups": ["argoproj.io"], "resources": ["workflowtemplates"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"]},
    ]
    with temporary_namespace(cluster, "klever-test") as namespace:
        there = furnish(cluster, namespace)
        cluster.create(ACCOUNTS.path(namespace), {"metadata": {"name": "controller"}})
        cluster.create(ROLES.path(namespace), {"metadata": {"name": "controller"}, "rules": rules})
        binding = {
            "metadata": {"name": "controller"},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "controller"},
            "subjects": [{"kind": "ServiceAccount", "name": "controller", "namespace": namespace}],
        }
        cluster.create(BINDINGS.path(namespace), binding)
        token = kubectl(there, "create", "token", "controller").strip()
        config = write_kubeconfig(tmp_path / "kubeconfig", user={"token": token})
        with controller(tmp_path / "log", [namespace], environment={"KUBECONFIG": str(config)}) as replica:
            done, short, deleted = there.say(), there.say(ttl=1), there.say(seconds="300")
            there.wait(deleted, "Running")
            there.delete(deleted)
            check_done(there, [done])
            until(lambda: not there.exists(short), "the end of its time", 60)
            changed = there.say(seconds="300")
            there.wait(changed, "Running")
            change = {"spec": {"pipeline": {"arguments": {"seconds": "0"}}}}
            cluster.merge(MODEL_JOBS.path(namespace, changed), change)
            until(lambda: there.status(changed).get("observedGeneration") == 2, "the new generation")
            check_changed = there.wait(changed, "Succeeded", "Failed")
            assert check_changed["phase"] == "Succeeded", check_changed["message"]
            assert token not in (tmp_path / "log").read_text("utf-8")
            # Neither we nor kopf were refused anything.
            assert not [line for line in replica.lines() if re.search("may not|[Ff]orbidden", json.dumps(line))]
