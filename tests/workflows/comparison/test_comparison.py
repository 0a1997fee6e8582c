"""The local runner does what Argo does, node by node, on many small workflows.

The records are what a real Argo made of them (see ``record.py``); where a cluster is at hand, they are held to it again.
"""

from pathlib import Path

import pytest

from klever.steps.errors import KleverError
from klever.workflows.argo.client import Cluster
from klever.workflows.local import Options, run

from . import records
from .cases import Case, every_case
from .cluster import allow, run_all

CASES = every_case()
#: What Argo's controller says of a workflow that it does not begin.
REFUSED = "invalid spec: "


def test_each_case_has_a_record_and_each_record_a_case() -> None:
    assert {path.stem for path in records.FOLDER.iterdir()} == set(CASES)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_local_runner_does_what_argo_did(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLEVER_HOME", str(tmp_path))
    expected = records.read(case.name)
    if expected["message"].startswith(REFUSED):
        # Ours is an error of its own, in words of its own, before the first task.
        with pytest.raises(KleverError):
            run(case.build(), case.arguments, templates=case.templates())
        return
    found = run(case.build(), case.arguments, templates=case.templates(), options=Options(parallel=4))
    differences = records.differences(expected, records.of_run(case.name, found))
    assert not differences, "\n".join(differences)


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_argo_still_does_what_the_records_say(cluster: Cluster, namespace: str) -> None:
    allow(cluster, namespace)
    differences = {
        case.name: found
        for case, workflow in run_all(cluster, namespace, CASES.values(), seconds=1700)
        if (found := records.differences(records.read(case.name), records.of_argo(case.name, workflow)))
    }
    assert not differences
