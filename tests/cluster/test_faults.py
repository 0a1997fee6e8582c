"""Faults in the middle of the work: each workflow ends right or says in one sentence why not, and no tag is half done."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from clusters import HOST_IP_VARIABLE, Cluster, Installation, lack, restart_argo, settings, until
from relays import Relay, relay
from watchers import Sight, watched_tag

from klever.steps.artifact import DERIVED_FROM, EXTRACTED_FROM
from klever.workflows.argo.reasons import explain_run
from klever.workflows.status import Kind, Phase, Run
from klever.workflows.templates.table import build

pytestmark = pytest.mark.cluster

#: What writing a tag asks of a registry, and what reading a layer does.
WRITES_THE_TAG, READS_A_BLOB = ("PUT", "/manifests/v1$"), ("GET", "/blobs/sha256")
AWAY_SECONDS = 20
#: Argo's RECENTLY_STARTED_POD_DURATION, 10 s, and a second for clocks that show no fractions.
RECENT_SECONDS = 11
#: Enough for a pod's start.
DEADLINE_SECONDS = 15
#: Enough for the start of a container, too little for an interpreter with what a conversion imports.
TOO_LITTLE_MEMORY = "24Mi"
KLEVER = str(Path(sys.executable).with_name("klever"))


@dataclass(frozen=True)
class Unread:
    """A tag in the registry whose signature nobody has read, and a way to it that can be held."""

    klever: Installation
    between: Relay
    name: str
    digest: str

    @property
    def reference(self) -> str:
        """What pods call it, by the relay."""
        return f"{self.between.host}/{self.name}"

    def extract(self, **spec: object) -> str:
        """Start its extraction."""
        return self.klever.submit("klever-extract", {"model": self.reference}, **spec)

    @contextmanager
    def watched(self) -> Iterator[Sight]:
        """Look at the tag for the time of the block; it has to be whole whenever anybody looks."""
        registry = self.klever.registry
        with registry.store() as store, watched_tag(store, registry.here(self.name)) as sight:
            yield sight
        assert sight.looks > 10
        assert not sight.wrong

    def check_extracted(self, run: Run, sight: Sight) -> None:
        """Check that the workflow ended well, and that the tag went from what it was to the result at once."""
        assert run.phase is Phase.SUCCEEDED, run.message
        artifact = self.klever.registry.load(self.name)
        annotations = artifact.manifest.annotations
        assert sight.digests == [self.digest, artifact.descriptor.digest]
        assert annotations[EXTRACTED_FROM] == artifact.manifest.layer.digest
        assert annotations[DERIVED_FROM] == self.digest
        assert artifact.metadata.signature is not None
        assert run.outputs["digest"] == artifact.descriptor.digest

    def check_untouched(self, sight: Sight) -> None:
        """Check that nothing happened to the tag."""
        assert sight.digests == [self.digest]


@pytest.fixture(scope="module")
def between(klever: Installation) -> Iterator[Relay]:
    """The way of the pods to the registry."""
    address = os.environ.get(HOST_IP_VARIABLE)
    if not address:
        lack(f"{HOST_IP_VARIABLE}, the address under which pods reach this machine")
    with relay(klever.registry.near, address) as running:
        yield running


@pytest.fixture
def unread(klever: Installation, between: Relay, models: Path) -> Unread:
    """A model of its own for each test."""
    name = f"faults/mlp-{uuid4().hex[:8]}:v1"
    digest = klever.registry.publish_unread(models / "MXNetParams" / "mlp" / "model", name)
    return Unread(klever, between, name, digest)


def tries(run: Run) -> list[Phase]:
    """Return how each pod of a workflow ended or is, in the order of their starts."""
    pods = [
        (node.started, node.name, node.phase) for node in run.nodes.values() if node.kind is Kind.POD and node.started
    ]
    return [phase for _, _, phase in sorted(pods)]


def reasons(run: Run) -> list[str]:
    """Return the sentences that say why it failed."""
    return [reason.cause for _, reason in explain_run(run)]


def runs_for(run: Run, seconds: float) -> bool:
    """Say whether the one pod of a run has run for so long."""
    pods = [node for node in run.nodes.values() if node.kind is Kind.POD]
    return [pod.phase for pod in pods] == [Phase.RUNNING] and all(
        pod.started is not None and (datetime.now(UTC) - pod.started).total_seconds() > seconds for pod in pods
    )


def test_a_pod_that_is_deleted_before_it_writes_the_tag_is_replaced(unread: Unread) -> None:
    with unread.watched() as sight, unread.between.held(*WRITES_THE_TAG) as held:
        workflow = unread.extract()
        held.wait()
        # A pod that is lost within these seconds of its start is simply made again, under the same name.
        until(lambda: runs_for(unread.klever.look(workflow), RECENT_SECONDS), "a pod that has run for a while")
        unread.klever.delete_pods(workflow)
        until(lambda: Phase.ERROR in tries(unread.klever.look(workflow)), "the notice that the pod is gone")
        held.release()
        run = unread.klever.wait(workflow)
    unread.check_extracted(run, sight)
    # What stands of the lost try afterwards is Argo's affair: the account of a pod that is gone may come late.
    assert tries(run)[-1] is Phase.SUCCEEDED


def test_a_workflow_outlives_a_restart_of_the_controller(unread: Unread, cluster: Cluster) -> None:
    with unread.watched() as sight, unread.between.held(*READS_A_BLOB) as held:
        workflow = unread.extract()
        held.wait()
        restart_argo(cluster)
        held.release()
        run = unread.klever.wait(workflow)
    unread.check_extracted(run, sight)
    assert tries(run) == [Phase.SUCCEEDED]


def test_a_registry_that_is_away_for_a_while_is_waited_for(unread: Unread) -> None:
    with unread.watched() as sight, unread.between.held(*READS_A_BLOB) as held:
        workflow = unread.extract()
        held.wait()
        with unread.klever.registry.away():
            held.release()
            time.sleep(AWAY_SECONDS)
        run = unread.klever.wait(workflow)
    assert sight.unanswered
    unread.check_extracted(run, sight)
    assert tries(run)[-1] is Phase.SUCCEEDED
    # Temporary failures alone led to another try.
    first = [node for node in run.nodes.values() if node.kind is Kind.POD and node.phase is Phase.FAILED]
    assert first
    assert {node.exit_code for node in first} == {75}


def test_a_step_without_enough_memory_says_so(unread: Unread) -> None:
    parameters = {"model": unread.reference, "to": "ONNX", "memory": TOO_LITTLE_MEMORY}
    with unread.watched() as sight:
        run = unread.klever.run("klever-convert", parameters)
    assert run.phase is Phase.FAILED
    assert reasons(run) == ["it needed more memory than its limit allows and was killed"]
    unread.check_untouched(sight)
    # No try more: it would end alike.
    assert tries(run) == [Phase.SUCCEEDED, Phase.FAILED]


def test_the_command_line_says_why_a_run_on_argo_failed(unread: Unread) -> None:
    parameters = ["-p", f"model={unread.reference}", "-p", "to=ONNX", "-p", f"memory={TOO_LITTLE_MEMORY}"]
    command = [KLEVER, "run", "convert", "--on", "argo", "--wait", "--namespace", unread.klever.namespace, *parameters]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    *_, cause, next_step, logs = done.stderr.splitlines()
    assert cause == "  make(0): it needed more memory than its limit allows and was killed"
    assert next_step == "    next: give it a higher memory limit (klever-convert takes -p memory=...)"
    assert logs.startswith("  logs: klever workflows logs klever-convert-")


def test_a_step_that_takes_longer_than_its_deadline_says_so(unread: Unread) -> None:
    (template,) = build(replace(settings(), step_deadline=DEADLINE_SECONDS), ["klever-extract"])
    with unread.watched() as sight, unread.between.held(*READS_A_BLOB):
        workflow = unread.klever.submit_document(template.to_dict(), {"model": unread.reference})
        run = unread.klever.wait(workflow)
    assert run.phase is Phase.FAILED
    assert reasons(run) == ["it ran longer than its deadline allows"]
    unread.check_untouched(sight)
    assert tries(run) == [Phase.FAILED]


def test_a_workflow_that_takes_longer_than_its_deadline_says_so(unread: Unread) -> None:
    with unread.watched() as sight, unread.between.held(*READS_A_BLOB):
        run = unread.klever.wait(unread.extract(activeDeadlineSeconds=DEADLINE_SECONDS))
    assert run.phase is Phase.FAILED
    assert reasons(run) == ["it ran longer than its deadline allows"]
    unread.check_untouched(sight)


def test_a_tag_that_moves_meanwhile_is_left_where_it_is(unread: Unread, models: Path) -> None:
    with unread.watched() as sight, unread.between.held(*READS_A_BLOB) as held:
        workflow = unread.extract()
        held.wait()
        newer = unread.klever.registry.publish(models / "MXNetParams" / "autoencoder" / "model", unread.name)
        held.release()
        run = unread.klever.wait(workflow)
    assert run.phase is Phase.SUCCEEDED
    assert sight.digests == [unread.digest, newer]
    assert run.outputs["moved"] == "false"
    assert run.outputs["note"].startswith(f"the tag v1 points at {newer} and not at the {unread.digest} that was read")
    # What was read is there all the same, under its digest.
    assert unread.klever.registry.load(
        run.outputs["reference"].removeprefix(f"{unread.between.host}/")
    ).metadata.signature


def test_two_extractions_of_a_tag_follow_each_other(unread: Unread) -> None:
    with unread.watched() as sight, unread.between.held(*READS_A_BLOB) as held:
        first, second = unread.extract(), unread.extract()
        held.wait()
        until(
            lambda: any(
                "lock" in node.message for name in (first, second) for node in unread.klever.look(name).nodes.values()
            ),
            "one waiting for the other",
        )
        held.release()
        runs = [unread.klever.wait(name) for name in (first, second)]
    for run in runs:
        unread.check_extracted(run, sight)
    assert sorted(run.outputs["changed"] for run in runs) == ["false", "true"]
