"""The process: what it is told, what it answers to probes, what its log lines are."""

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import until
from controllers import Controller
from fakes import Exchange, fake

from klever.api.controller.health import numbers, serving, told
from klever.api.controller.index import JobIndex
from klever.api.controller.main import run
from klever.api.controller.metrics import Metrics
from klever.api.controller.settings import Settings, SettingsError, parse_namespaces


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """Leave the logs as they were: a process configures them for itself alone."""
    root, client = logging.getLogger(), logging.getLogger("urllib3")
    before = list(root.handlers), root.level, client.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    client.setLevel(before[2])


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_probes_are_told_what_is_wrong() -> None:
    problem = [""]
    with serving(0, {"/healthz": lambda: told(problem[0])}, "127.0.0.1") as port:
        assert get(port, "/healthz") == (200, "ok\n")
        problem[0] = "the loop hangs"
        assert get(port, "/healthz?verbose") == (503, "the loop hangs\n")
        assert get(port, "/") == (404, "not here\n")


def test_every_phase_has_a_number_from_the_start() -> None:
    with serving(0, {"/metrics": numbers(Metrics(JobIndex(60)).render)}, "127.0.0.1") as port:
        status, text = get(port, "/metrics")
    assert status == 200
    for phase in ("New", "Pending", "Running", "Succeeded", "Failed", "Deleting"):
        assert f'klever_modeljobs{{phase="{phase}"}} 0.0' in text
    for name in ("klever_modeljob_queue_seconds_count", "klever_relist_seconds_count", "klever_relist_jobs_total"):
        assert f"{name} 0.0" in text


def test_no_port_is_opened_for_minus_one() -> None:
    with serving(-1, {}) as port:
        assert port == -1


@pytest.mark.parametrize(("text", "names"), [("", ()), ("models", ("models",)), (" a, b,a ,", ("a", "b"))])
def test_namespaces_are_a_list_with_commas(text: str, names: tuple[str, ...]) -> None:
    assert parse_namespaces(text) == names


def test_no_namespaces_are_all_of_them() -> None:
    assert Settings().watched == ("",)
    assert Settings(namespaces=("a", "b")).watched == ("a", "b")


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({"namespaces": ("a", "../b")}, "cannot be the name of a namespace"),
        ({"namespace": "A"}, "cannot be the name of a namespace"),
        ({"harbor_url": "harbor.example"}, "not the address of a Harbor"),
        ({"harbor_url": "https://admin:Harbor12345@harbor.example"}, "not the address of a Harbor"),
        ({"registry_host": "https://harbor.example"}, "names no registry's host"),
        ({"harbor_username_file": Path("/x")}, "only one of"),
    ],
)
def test_a_setting_that_is_wrong_is_told_without_what_may_be_secret(given: dict[str, object], cause: str) -> None:
    with pytest.raises(SettingsError, match=cause) as caught:
        Settings(**given)  # type: ignore[arg-type]
    assert "Harbor12345" not in str(caught.value) + caught.value.next_step


def test_a_wrong_option_ends_the_process_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--namespaces", "a,B"]) == 1
    assert "'B' cannot be the name of a namespace; next: " in capsys.readouterr().err
    assert run(["--workers", "many"]) == 2
    assert run(["--help"]) == 0


def test_without_a_cluster_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    # The client reads the variable when it is imported; this is what it then reads from.
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    assert run(["--health-port", "-1", "--metrics-port", "-1"]) == 1
    assert "cluster" in capsys.readouterr().err


def test_a_cluster_that_does_not_know_modeljobs_is_waited_for_and_readiness_says_so(tmp_path: Path) -> None:
    asked: list[str] = []
    known: set[str] = set()

    def answer(exchange: Exchange) -> None:
        asked.append(exchange.path_only)
        kind = {"/apis/kleveross.io/v1alpha1": "modeljobs", "/apis/argoproj.io/v1alpha1": "workflows"}.get(
            exchange.path_only, ""
        )
        if kind in known:
            exchange.reply(200, json.dumps({"resources": [{"name": kind}]}).encode())
        elif kind:
            exchange.reply(404, b"404 page not found")
        else:
            # Who would lead is none of what this is about.
            exchange.reply(503, b"{}")

    with fake(answer) as server:
        config = {
            "clusters": [{"name": "x", "cluster": {"server": f"http://{server.host}"}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "users": [{"name": "x", "user": {}}],
            "current-context": "x",
        }
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        environment = {"KUBECONFIG": str(tmp_path / "kubeconfig")}
        replica = Controller(tmp_path / "log", ["models"], environment=environment)
        replica.start(leads=False)
        try:
            until(lambda: replica.ask("/readyz")[0] == 503, "readiness", 20)
            said = replica.ask("/readyz")[1]
            assert "does not know modeljobs.kleveross.io; next: apply crds/" in said
            assert "install Argo Workflows" in said
            assert replica.ask("/healthz")[0] == 200
            known.update(("modeljobs", "workflows"))
            until(lambda: replica.ask("/readyz")[0] == 200, "readiness", 20)
            assert not replica.leads
        finally:
            assert replica.stop() == 0
    assert replica.complaints() == []
