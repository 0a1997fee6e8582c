"""The controller knows what its settings say, and nothing of the shell that the tests run in."""

import pytest


@pytest.fixture(autouse=True)
def no_argo_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARGO_SERVER", raising=False)
