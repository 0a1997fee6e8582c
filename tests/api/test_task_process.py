"""``klever-task`` as the process of a pod: what it costs to start, and what becomes of it when it is told to end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import foreign
import pytest
from registries import Registry
from relays import Relay, relay

from klever.steps.artifact import load_artifact
from klever.steps.oci.reference import parse_reference
from klever.steps.stores import Stores

TASK = [sys.executable, "-c", "from klever.api.task import main; main()"]
#: What an extraction from a registry does without.
UNUSED = {
    "asyncio", "click", "ctypes", "fastapi", "hera", "kubernetes", "multiprocessing", "numpy", "onnx", "platformdirs",
    "rich", "subprocess", "xml", "yaml",
}  # fmt: skip


@pytest.fixture
def relayed(registry: Registry) -> Iterator[Relay]:
    with relay(registry.host, "127.0.0.1") as running:
        yield running


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "KLEVER_HOME": str(tmp_path / "home"),
        "KLEVER_PLAIN_HTTP": "true",
        "KLEVER_MESSAGE_FILE": str(tmp_path / "message"),
        "TMPDIR": str(tmp_path),
        **more,
    }


@pytest.mark.registry
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_process_that_ends_before_its_last_write_leaves_the_tag_and_no_outputs(
    registry: Registry, relayed: Relay, models: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    name = f"process/{ending.name.lower()}:v1"
    near = parse_reference(f"{registry.host}/{name}")
    stores = Stores(plain_http=True)
    beside = {"ormbfile.yaml": foreign.STALE}
    old = foreign.put(near, stores, models / "ONNX" / "cnn_dynamic_dims" / "model", beside=beside)
    command = [*TASK, "extract", f"--model={relayed.host}/{name}", "--repack=true", f"--directory={tmp_path / 'out'}"]
    with relayed.held("PUT", "/manifests/v1") as held:
        process = subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.PIPE, text=True)
        held.wait()
        process.send_signal(ending)
        _, err = process.communicate(timeout=30)
        # What stands at the relay belongs to a process that is gone.
        assert load_artifact(stores.open(near), near).descriptor.digest == old.digest
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[ending]
    assert not list((tmp_path / "out").iterdir())
    if ending != signal.SIGKILL:
        assert (tmp_path / "message").read_text() in err
        assert "nothing half done" in err
        assert not list(tmp_path.glob(".klever*"))
    again = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert load_artifact(stores.open(near), near).has_full_signature
    assert not list(tmp_path.glob(".klever*")), "what a killed run left is removed by the next one"
    stores.close()


def test_a_registry_that_is_away_is_worth_another_try(tmp_path: Path) -> None:
    code = (
        "import klever.steps.oci.http as h; h.Retry.__init__.__defaults__ = (1, *h.Retry.__init__.__defaults__[1:]); "
    )
    command = [sys.executable, "-c", code + TASK[2], "extract", "--model=127.0.0.1:9/net:v1"]
    ended = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True)
    assert ended.returncode == 75
    assert "cannot reach the registry at 127.0.0.1:9" in (tmp_path / "message").read_text()


@pytest.mark.registry
def test_an_extraction_imports_what_it_uses_and_no_more(registry: Registry, models: Path, tmp_path: Path) -> None:
    reference = parse_reference(f"{registry.host}/process/imports:v1")
    stores = Stores(plain_http=True)
    foreign.put(reference, stores, models / "ONNX" / "cnn_dynamic_dims" / "model")
    stores.close()
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    command = [sys.executable, "-c", code + TASK[2], "extract", f"--model={reference}"]
    ended = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ended.stderr.split()}
    assert loaded & UNUSED == set()


def test_help_and_wrong_usage_start_without_the_work(tmp_path: Path) -> None:
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    for arguments, exit_code in ((["--help"], 0), ([], 2), (["nonsense"], 2)):
        command = [sys.executable, "-c", code + TASK[2], *arguments]
        ended = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True)
        assert ended.returncode == exit_code
        loaded = {name.partition(".")[0] for name in ended.stderr.splitlines()[-1].split()}
        assert not loaded & {"pydantic", "urllib3", "isal"}


@pytest.mark.slow
@pytest.mark.registry
def test_killed_at_any_moment_the_tag_is_the_old_or_the_new_artifact(
    registry: Registry, models: Path, tmp_path: Path
) -> None:
    reference = parse_reference(f"{registry.host}/process/killed:v1")
    stores = Stores(plain_http=True)
    model = models / "ONNX" / "cnn_dynamic_dims" / "model"
    old = foreign.put(reference, stores, model)
    command = [*TASK, "extract", f"--model={reference}"]
    started = time.perf_counter()
    subprocess.run(command, env=environment(tmp_path), capture_output=True, check=True)
    length = time.perf_counter() - started
    new = load_artifact(stores.open(reference), reference).descriptor.digest
    seen = set()
    for turn in range(12):
        foreign.put(reference, stores, model)
        process = subprocess.Popen(command, env=environment(tmp_path), stdout=subprocess.DEVNULL)
        time.sleep(length * (0.5 + turn / 16))
        process.kill()
        process.wait()
        seen.add(load_artifact(stores.open(reference), reference).descriptor.digest)
    assert seen <= {old.digest, new}
    subprocess.run(command, env=environment(tmp_path), capture_output=True, check=True)
    assert load_artifact(stores.open(reference), reference).descriptor.digest == new
    stores.close()
