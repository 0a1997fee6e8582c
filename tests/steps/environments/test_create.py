"""Environments are made once, whole or not at all, whoever else makes them and whatever is killed."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from klever.steps.environments.create import CreationFailedError, CreationUnavailableError, create, delete
from klever.steps.environments.locate import MARKER, directory_of, find_interpreter, is_available, made_with
from klever.steps.environments.process import PROGRAMS, run_in
from klever.steps.environments.pythons import find_python, variable_of
from klever.steps.environments.table import ENVIRONMENTS, Environment
from klever.steps.errors import EnvironmentMissingError

THIS = sys.version_info[:2]
#: The running interpreter would serve one that asks for nothing; this one asks it for what nobody has.
BARE = Environment("bare", "show nothing", (THIS,), (), ("json",), {"no-such-distribution": "1"})
TINY = Environment("tiny", "show a wheel", (THIS,), ("tiny==1.2",), ("tiny",))
#: A second process that makes an environment, as another run of Klever would.
CREATOR = """
import sys
sys.path.insert(0, {folder!r})
from test_create import BARE
from klever.steps.environments.create import create
print(create(BARE))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory for environments, and no index that pip could ask."""
    monkeypatch.setenv("KLEVER_ENVIRONMENTS", str(tmp_path / "environments"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel of a distribution ``tiny``."""
    path = tmp_path / "tiny-1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "VERSION = '1.2'\n")
        archive.writestr("tiny-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.2\n")
        archive.writestr(
            "tiny-1.2.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("tiny-1.2.dist-info/RECORD", "")
    return path


@pytest.fixture
def slow_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python that takes a second to make a virtual environment, and says when it began."""
    script = tmp_path / "python"
    begun = tmp_path / "begun"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *"-m venv"*) echo >>"{begun}"; sleep 1;; esac\nexec "{sys.executable}" "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv(variable_of(*THIS), str(script))
    return begun


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with pip, to copy instead of making."""
    directory = tmp_path_factory.mktemp("prepared") / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    return directory


@pytest.fixture
def quick_python(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that makes virtual environments in no time."""
    script = tmp_path / "python"
    copy = f'for last; do :; done; exec cp -r "{prepared}" "$last"'
    script.write_text(f'#!/bin/sh\ncase "$*" in *"-m venv"*) {copy};; esac\nexec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv(variable_of(*THIS), str(script))


@pytest.mark.usefixtures("quick_python")
def test_what_is_pinned_is_installed_from_where_pip_is_configured(
    folder: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the user says of other installations does not matter here.
    (folder / "constraints.txt").write_text("tiny==0.1\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(folder / "constraints.txt"))
    monkeypatch.setenv("PIP_TARGET", str(folder / "elsewhere"))
    monkeypatch.setenv("PYTHONPATH", str(folder / "elsewhere"))
    told: list[tuple[float, str]] = []
    python = create(TINY, lambda done, doing: told.append((done, doing)))
    answer = subprocess.run(
        [python, "-c", "import tiny; print(tiny.VERSION)"], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "1.2\n"
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert any("tiny" in doing and "fetching" in doing for _, doing in told)
    assert find_interpreter(TINY) == python
    assert not (folder / "elsewhere").exists()


def test_a_relative_directory_is_meant_from_where_klever_was_started(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KLEVER_ENVIRONMENTS", "here")
    create(BARE)
    assert directory_of(BARE).parent == folder / "here"
    (folder / "main.py").write_text((PROGRAMS / "main.py").read_text())
    (folder / "where.py").write_text("import sys\ndef run(request, progress):\n    return {'prefix': sys.prefix}\n")
    assert run_in(BARE, "where", {}, programs=folder) == {"prefix": str(directory_of(BARE))}


def test_a_second_request_finds_the_environment_and_makes_nothing() -> None:
    create(BARE)
    written = (directory_of(BARE) / MARKER).stat().st_mtime_ns
    create(BARE)
    assert (directory_of(BARE) / MARKER).stat().st_mtime_ns == written
    assert made_with(directory_of(BARE)).startswith("{}.{}.".format(*THIS))


@pytest.mark.usefixtures("quick_python")
def test_what_the_index_does_not_have_is_a_lasting_failure_that_leaves_nothing(folder: Path) -> None:
    with pytest.raises(CreationFailedError, match=r"tiny==1\.2") as caught:
        create(TINY)
    assert caught.value.stage == "create"
    assert not directory_of(TINY).exists()
    assert not is_available(TINY)


@pytest.mark.usefixtures("quick_python")
def test_an_index_that_cannot_be_reached_is_a_passing_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(CreationUnavailableError, match="refused"):
        create(TINY)


def test_an_environment_whose_modules_do_not_import_is_not_kept() -> None:
    broken = Environment("broken", "fail", (THIS,), (), ("no_such_module",), BARE.at_least)
    with pytest.raises(CreationFailedError, match="no_such_module"):
        create(broken)
    assert not directory_of(broken).exists()


def test_several_processes_that_want_the_same_make_it_once(slow_python: Path) -> None:
    script = CREATOR.format(folder=str(Path(__file__).parent))

    def another(_index: int) -> str:
        return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(another, range(3)))) == 1
    assert slow_python.read_text() == "\n"


def test_a_creator_that_is_killed_leaves_what_the_next_one_clears_away(slow_python: Path) -> None:
    script = CREATOR.format(folder=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", script]) as creator:
        while not slow_python.exists() and creator.poll() is None:
            time.sleep(0.01)
        creator.send_signal(signal.SIGKILL)
    assert not is_available(BARE)
    with pytest.raises(EnvironmentMissingError):
        find_interpreter(BARE)
    rubbish = directory_of(BARE) / "rubbish"
    rubbish.parent.mkdir(parents=True, exist_ok=True)
    rubbish.touch()
    python = create(BARE)
    assert python.exists()
    assert not rubbish.exists()


def test_deleting_removes_every_version_and_no_other_environment(folder: Path) -> None:
    create(BARE)
    older = directory_of(BARE).with_name("bare-0123456789ab")
    other = directory_of(BARE).with_name("bare-metal-0123456789ab")
    older.mkdir()
    other.mkdir()
    assert delete(BARE) == sorted([older, directory_of(BARE)])
    assert not is_available(BARE)
    assert other.exists()
    assert delete(BARE) == []


def test_a_missing_environment_says_how_to_make_it() -> None:
    with pytest.raises(EnvironmentMissingError) as caught:
        run_in(TINY, "anything", {})
    assert caught.value.next_step == "run klever environments create tiny"


def test_an_environment_whose_python_was_removed_is_not_available() -> None:
    create(BARE)
    # Not what `create` returns: were it the interpreter that runs the tests, they would remove that.
    python = directory_of(BARE) / "bin" / "python"
    python.unlink()
    python.symlink_to("/no/such/python")
    assert not is_available(BARE)


def test_the_running_interpreter_serves_where_it_has_what_is_pinned() -> None:
    from importlib.metadata import version

    exact = Environment("here", "be here", (THIS,), (f"pytest=={version('pytest')}",), ())
    assert find_interpreter(exact) == Path(sys.executable)
    for requirements, pythons in ((("pytest==0.1",), (THIS,)), (("no-such==1",), (THIS,)), (exact.requirements, ())):
        assert not is_available(Environment("here", "be here", pythons, requirements, ()))


def test_a_newer_distribution_serves_where_a_lowest_version_is_all_that_is_asked() -> None:
    def with_at_least(version: str) -> Environment:
        return Environment("here", "be here", (THIS,), ("pytest==0.1",), (), {"pytest": version})

    assert is_available(with_at_least("7.10"))
    assert not is_available(with_at_least("9999"))


def test_other_requirements_have_another_directory() -> None:
    assert len({entry.directory_name for entry in ENVIRONMENTS.values()}) == len(ENVIRONMENTS)
    assert BARE.digest != Environment("bare", "", (THIS,), ("a==1",), (), "").digest


def test_a_python_that_does_not_answer_as_expected_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar = tmp_path / "liar"
    liar.write_text("#!/bin/sh\necho 2.7\n")
    liar.chmod(0o755)
    monkeypatch.setenv(variable_of(*THIS), str(liar))
    assert find_python(BARE) == Path(sys.executable)


def test_without_a_fitting_python_the_variable_that_names_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentMissingError, match=r"needs Python 3\.99") as caught:
        find_python(Environment("future", "", ((3, 99),), (), ()))
    assert "KLEVER_PYTHON_3_99" in caught.value.next_step
    assert "container image" in caught.value.next_step


@pytest.mark.parametrize("entry", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_every_environment_pins_all_that_it_installs(entry: Environment) -> None:
    assert all(name and version for name, _, version in (line.partition("==") for line in entry.requirements))
    assert list(entry.requirements) == sorted(set(entry.requirements), key=str.lower)
    assert entry.modules
    assert entry.pythons
    assert json.dumps(entry.purpose).isascii()
