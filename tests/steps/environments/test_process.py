"""A program runs apart from Klever, and whatever becomes of it is a result or a clear error."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from klever.steps.environments.process import PROGRAMS, ProgramFailedError, run, run_in
from klever.steps.environments.table import Environment
from klever.steps.errors import (
    ConversionError,
    EnvironmentMissingError,
    NotFoundError,
    StorageError,
    UnsafeModelError,
    UnsupportedOperatorsError,
)

#: Served by the interpreter that runs the tests.
HERE = Environment("here", "be here", (sys.version_info[:2],), (), ())

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """Run the body of a program that is given as text."""

    def write_and_run(body: str, request: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        folder = tmp_path / "programs"
        folder.mkdir(exist_ok=True)
        shutil.copy(PROGRAMS / "main.py", folder)
        lines = textwrap.indent(textwrap.dedent(body), "    ")
        (folder / "program.py").write_text(f"import os, signal, sys, time\ndef run(request, progress):\n{lines}\n")
        return run_in(HERE, "program", request or {}, programs=folder, **options)

    return write_and_run


def test_values_go_in_and_come_out(call: Call) -> None:
    assert call("return {'sum': sum(request['of'])}", {"of": [1, 2, 3]}) == {"sum": 6}


def test_progress_is_told_and_what_a_framework_prints_is_not(call: Call) -> None:
    told: list[tuple[float, str]] = []
    call(
        """
        progress(0.5, "loading")
        print('[0.7, "not ours"]', flush=True)
        os.system("echo '[0.8, 1]'")
        progress(7, "a\\x1b[2Jb")
        return {}
        """,
        progress=lambda done, doing: told.append((done, doing)),
    )
    assert told == [(0.5, "loading"), (1.0, "a?[2Jb")]


def test_a_program_sees_no_secret_of_the_caller(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", "s3cret")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    seen = call("return {'variables': dict(os.environ), 'path': sys.path, 'cwd': os.getcwd()}")
    assert "s3cret" not in str(seen)
    assert "/elsewhere" not in seen["path"]
    home = Path(seen["variables"]["HOME"])
    assert home == Path(seen["cwd"])
    assert home != Path.home()
    assert not home.exists()


def test_a_program_goes_through_sets_of_names_in_one_order_always(call: Call) -> None:
    order = "return {'order': list({f'name {number}' for number in range(100)})}"
    assert call(order) == call(order)


def test_its_directory_is_its_own(call: Call) -> None:
    assert call("return {'mode': os.stat('.').st_mode & 0o777}") == {"mode": 0o700}


def test_a_refusal_is_an_error_of_its_kind(call: Call) -> None:
    with pytest.raises(ConversionError, match=r"no such layer") as caught:
        call("return {'refused': 'no such layer', 'next': 'do without'}")
    assert caught.value.next_step == "do without"
    with pytest.raises(UnsafeModelError, match=r"layer f is a Lambda"):
        call("return {'refused': 'layer f is a Lambda', 'unsafe': True}")
    with pytest.raises(UnsupportedOperatorsError) as unsupported:
        call("return {'refused': 'not covered', 'operators': {'Foo': ['a', 'b']}}")
    assert unsupported.value.operators == {"Foo": ("a", "b")}


def test_an_exception_is_a_sentence_with_the_log_beside_it(call: Call) -> None:
    with pytest.raises(ProgramFailedError, match="program failed in here: ValueError: two lines") as caught:
        call("print('said before'); raise ValueError('two\\n  lines')")
    assert "said before" in caught.value.log
    assert "Traceback" in caught.value.log


def test_a_missing_module_means_that_the_environment_is_not_whole(call: Call) -> None:
    with pytest.raises(EnvironmentMissingError, match="no_such_module"):
        call("import no_such_module")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed in here with SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "out of memory"),
        ("raise MemoryError", "ran out of memory"),
        ("sys.stderr.write('last words\\n'); os._exit(3)", "ended with code 3 in here: last words"),
        ("return {1, 2}", "ended with code 1 in here: TypeError"),
        ("return None", "failed in here"),
        ("sys.exit('bye')", "ended with code 1 in here: bye"),
    ],
)
def test_an_end_without_a_reply_is_named(call: Call, body: str, told: str) -> None:
    with pytest.raises(ProgramFailedError, match=told):
        call(body)


@pytest.mark.parametrize("ending", ["raise OSError(errno.ENOSPC, 'full')", "sys.exit('[Errno 28] full')"])
def test_a_full_disk_is_no_failure_of_the_program(call: Call, ending: str) -> None:
    with pytest.raises(StorageError, match="no room"):
        call(f"import errno, sys; {ending}")


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux alone")
def test_memory_is_limited(call: Call) -> None:
    with pytest.raises(ProgramFailedError, match="ran out of memory"):
        call("return {'size': len(bytearray(1 << 50))}")


def test_what_takes_too_long_is_ended_with_all_that_it_started(call: Call, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(ProgramFailedError, match="longer than 1 s"):
        call(
            f"""
            import subprocess
            child = subprocess.Popen(["sleep", "60"])
            open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
            child.wait()
            """,
            timeout=1,
        )
    assert time.monotonic() - begun < 10
    _wait_until_gone(int((tmp_path / "child").read_text()))


def test_a_child_that_stays_behind_does_not_keep_the_result_back(call: Call) -> None:
    begun = time.monotonic()
    assert call("import subprocess; subprocess.Popen(['sleep', '60']); return {'done': 1}") == {"done": 1}
    assert time.monotonic() - begun < 10


def test_a_program_ends_when_klever_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    shutil.copy(PROGRAMS / "main.py", folder)
    (folder / "program.py").write_text(
        f"import os, time\ndef run(request, progress):\n"
        f"    open({str(tmp_path / 'part')!r}, 'w').write(str(os.getpid()))\n"
        f"    os.rename({str(tmp_path / 'part')!r}, {str(tmp_path / 'pid')!r})\n    time.sleep(60)\n"
    )
    caller = (
        f"import sys; from pathlib import Path; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from test_process import HERE, run_in\nrun_in(HERE, 'program', {{}}, programs=Path({str(folder)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", caller]) as klever:
        while not (tmp_path / "pid").exists() and klever.poll() is None:
            time.sleep(0.01)
        klever.send_signal(signal.SIGKILL)
    _wait_until_gone(int((tmp_path / "pid").read_text()))


def test_an_unknown_environment_lists_those_that_there_are() -> None:
    with pytest.raises(NotFoundError, match="no-such") as caught:
        run("no-such", "program", {})
    assert "prove-mxnet" in caught.value.next_step


def _wait_until_gone(pid: int) -> None:
    """Wait for a process to end; an orphan's entry may stay until somebody reaps it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} still runs")
