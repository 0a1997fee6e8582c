"""Run operations in processes that can be killed at any moment.

A server process imports Klever once and forks a child for each operation, so that a kill falls into the operation and
not into the interpreter's start.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path


def operate(name: str, arguments: list[str]) -> None:
    """Carry out one operation of the command line."""
    from klever.api.cli.run import run

    with open(os.devnull, "w") as silence:  # noqa: PTH123 - the device, not a path
        sys.stdout = sys.stderr = silence
        code = run([name, *arguments])
    os._exit(code)


def warm_up(scratch: Path, model: Path) -> None:
    """Import what the operations import, by doing each once, and leave no thread behind."""
    from klever.api.cli.run import run

    os.environ["KLEVER_HOME"] = str(scratch / "home")
    with open(os.devnull, "w") as silence:  # noqa: PTH123
        sys.stdout, out = silence, sys.stdout
        assert run(["publish", str(model), "warm:up"]) == 0
        assert run(["copy", "warm:up", f"oci:{scratch / 'copy'}:warm:up"]) == 0
        assert run(["fetch", "warm:up", str(scratch / "fetched")]) == 0
        sys.stdout = out


def run_and_kill(name: str, arguments: list[str], delay: float | None) -> int | None:
    """Run an operation in a child; kill it after ``delay`` seconds. Returns its exit code, None if it was killed."""
    child = os.fork()
    if child == 0:
        operate(name, arguments)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return None if code == -signal.SIGKILL else code


def timed(name: str, arguments: list[str]) -> float:
    """Return how long an operation takes when nobody kills it, in seconds."""
    started = time.perf_counter()
    assert run_and_kill(name, arguments, None) == 0, (name, arguments)
    return time.perf_counter() - started


def main() -> None:
    """Kill publish, copy and fetch in turn at random moments, and require after each that the store is sound."""
    import shutil

    from klever.steps.oci.layout import LayoutStore

    work, model, rounds, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    scratch = work / "scratch"
    scratch.mkdir()
    warm_up(scratch, model)
    os.environ["KLEVER_HOME"] = str(work / "home")
    home, copies, target = LayoutStore(work / "home" / "store"), LayoutStore(work / "copies"), work / "fetched"
    operations = {
        "publish": [str(model), "net:v1"],
        "copy": ["net:v1", f"oci:{work / 'copies'}:net:v1"],
        "fetch": ["net:v1", str(target)],
    }
    durations = {name: timed(name, arguments) for name, arguments in operations.items()}
    dice = random.Random(seed)
    killed = 0
    for index in range(rounds):
        name = list(operations)[index % 3]
        if name == "publish":
            shutil.rmtree(work / "home")
        elif name == "copy":
            shutil.rmtree(work / "copies")
        else:
            shutil.rmtree(target)
        outcome = run_and_kill(name, operations[name], dice.uniform(0, durations[name] * 1.1))
        killed += outcome is None
        assert_sound(home, work / "home", "net", "v1")
        assert_sound(copies, work / "copies", "net", "v1")
        if target.exists():
            assert sorted(p.name for p in target.iterdir()) == ["model", "ormbfile.yaml"], "half a directory is visible"
            assert [p.stat().st_size for p in (target / "model").iterdir()] == [model.stat().st_size]
        # A fetch that was killed after its directory appeared has nothing left to do.
        if not (name == "fetch" and target.exists()):
            assert run_and_kill(name, operations[name], None) == 0, f"{name} fails"
        assert_sound(home, work / "home", "net", "v1", there=True)
    for store in (home, copies):
        store.gc(older_than=0)
        assert not list(store.check())
        blobs = [p for p in (store.directory / "blobs").rglob("*") if p.is_file()]
        assert len(blobs) == 3, blobs
    left = [p.name for p in work.iterdir() if p.name not in {"home", "copies", "fetched", "scratch"}]
    assert not left, f"fetch left {left}"
    print(f"{killed} of {rounds} killed")


def assert_sound(store: object, directory: Path, repository: str, tag: str, *, there: bool = False) -> None:
    """Require that a store passes its check and that the version is whole or not there."""
    from klever.steps.errors import NotFoundError
    from klever.steps.oci.layout import LayoutStore
    from klever.steps.oci.manifest import parse_manifest

    assert isinstance(store, LayoutStore)
    if not directory.exists():
        assert not there
        return
    try:
        faults = list(store.check())
        manifest = parse_manifest(store.get_manifest(repository, tag).data)
    except NotFoundError:
        assert not there
        return
    assert not faults, faults
    assert store.has_blob(repository, manifest.layer.digest)


if __name__ == "__main__":
    main()
