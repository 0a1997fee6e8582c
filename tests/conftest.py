"""Fixtures that every test may use."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus import SHARED

# Acts on tests that are marked with an environment.
from environments import environments_of_the_test  # noqa: F401

# Fixtures of real registries, for every folder of tests.
from registries import (  # noqa: F401
    registry,
    registry_version,
    start_registry,
    tls_registry,
    token_registry,
)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """See that what tests start hears Ctrl-C: a shell ignores it for what it starts in the background, and so on down."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def models() -> Path:
    """The small real models that the repository holds."""
    return ROOT / "tests" / "models"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of the larger corpus and samples."""
    if not (SHARED / "corpus").is_dir():
        pytest.skip("needs the larger corpus in ../shared")
    return SHARED
