"""Small workflows, and a home for their runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from klever.workflows.local import Options, run
from klever.workflows.status import Run

Runner = Callable[..., Run]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("KLEVER_HOME", str(home))
    return home


@pytest.fixture
def start(home: Path) -> Runner:
    """Run a workflow; options are named as those of `Options`, the templates of others stand in ``templates``."""

    def start(
        document: Any,
        arguments: dict[str, str] | None = None,
        *,
        templates: Any = (),
        watch: Any = None,
        **options: Any,
    ) -> Run:
        return run(document, arguments, templates=templates, options=Options(grace_seconds=2, **options), watch=watch)

    return start
