"""``klever doctor`` as a user calls it: a table, advice, JSON, and an exit code that says whether anything failed."""

from pathlib import Path

import pytest

from .conftest import Klever


@pytest.fixture
def no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a kubeconfig."""
    # The client reads the variable when it is imported, which has to be before the variable is another.
    missing = str(tmp_path / "none")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", missing)
    for variable in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "ARGO_NAMESPACE", "KLEVER_ENVIRONMENTS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


pytestmark = pytest.mark.usefixtures("no_cluster")


def test_a_laptop_without_a_cluster_is_well(klever: Klever, home: Path) -> None:
    outcome = klever("doctor")
    assert outcome.code == 0, outcome.out
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["STATE", "CHECK", "FOUND"]
    checked = {line.split()[1]: line.split()[0] for line in lines[1:] if line.startswith(("ok ", "skipped "))}
    assert checked["python"] == checked["store"] == checked["environments"] == "ok"
    assert checked["kubernetes"] == checked["registry"] == checked["harbor"] == "skipped"
    assert "what to do" not in outcome.out
    assert not home.exists()


def test_programs_read_the_same_as_json(klever: Klever) -> None:
    document = klever("doctor", "--json").document
    assert document["ok"] is True
    assert set(document["checks"][0]) == {"name", "state", "detail", "nextStep"}
    assert {check["state"] for check in document["checks"]} <= {"ok", "skipped", "warning"}


def test_a_failure_is_told_with_what_to_do_and_in_the_exit_code(klever: Klever, home: Path) -> None:
    home.mkdir()
    (home / "store").write_text("in the way")
    outcome = klever("doctor")
    assert outcome.code == 1
    assert "failed" in next(line for line in outcome.out.splitlines() if "is not a directory" in line)
    advice = outcome.out.partition("what to do:")[2]
    assert "store: remove it, or set KLEVER_HOME" in advice
    assert klever("doctor", "--json").document["ok"] is False


def test_a_cluster_that_was_named_and_is_not_there_is_a_failure(klever: Klever) -> None:
    outcome = klever("doctor", "--context", "nowhere", "--json")
    assert outcome.code == 1
    (check,) = (each for each in outcome.document["checks"] if each["name"] == "kubernetes")
    assert (check["state"], bool(check["nextStep"])) == ("failed", True)
