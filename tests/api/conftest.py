"""The command line as a user calls it and a task as a pod runs it, in this process."""

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from klever.api.cli.run import run
from klever.api.task.run import run as run_task


@dataclass(frozen=True)
class Outcome:
    """What a command line printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The JSON of an error, on standard error."""
        return json.loads(self.err)["error"]


Klever = Callable[..., Outcome]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh home for the laptop's store and for credentials."""
    monkeypatch.setenv("KLEVER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return tmp_path / "home"


@pytest.fixture
def klever(home: Path, capsys: pytest.CaptureFixture[str]) -> Klever:
    """Run one command line."""

    def call(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@dataclass(frozen=True)
class Done:
    """What a task left: its exit code, its outputs by name, the message of its failure, its log."""

    code: int
    outputs: dict[str, str]
    message: str
    log: str


Task = Callable[..., Done]


@pytest.fixture
def task(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Task]:
    """Run one verb of ``klever-task``: ``task("extract", model="net:v1", repack="true")``; a tuple is a repetition."""
    message, outputs = tmp_path / "message", tmp_path / "outputs"
    monkeypatch.setenv("KLEVER_MESSAGE_FILE", str(message))
    monkeypatch.delenv("ARGO_PROGRESS_FILE", raising=False)
    handler = signal.getsignal(signal.SIGTERM)

    def call(verb: str, *arguments: str, **values: str | tuple[str, ...]) -> Done:
        for path in (message, *(outputs.iterdir() if outputs.is_dir() else ())):
            path.unlink(missing_ok=True)
        given = list(arguments)
        for name, value in values.items():
            repeated = value if isinstance(value, tuple) else (value,)
            given += [f"--{name.rstrip('_')}={each}" for each in repeated]
        capsys.readouterr()
        code = run_task([verb, *given, f"--directory={outputs}"])
        captured = capsys.readouterr()
        files = {path.name: path.read_text() for path in outputs.iterdir()} if outputs.is_dir() else {}
        return Done(code, files, message.read_text() if message.exists() else "", captured.out + captured.err)

    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def onnx(tmp_path: Path, models: Path) -> Path:
    """A bare ONNX file."""
    case = next(p.parent for p in sorted(models.glob("ONNX/*/expected.json")) if '"error"' not in p.read_text())
    path = tmp_path / "net.onnx"
    path.write_bytes(next((case / "model").glob("*.onnx")).read_bytes())
    return path
