"""The command line as a user calls it, in this process."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from klever.api.cli.run import run


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


@pytest.fixture
def onnx(tmp_path: Path, models: Path) -> Path:
    """A bare ONNX file."""
    case = next(p.parent for p in sorted(models.glob("ONNX/*/expected.json")) if '"error"' not in p.read_text())
    path = tmp_path / "net.onnx"
    path.write_bytes(next((case / "model").glob("*.onnx")).read_bytes())
    return path
