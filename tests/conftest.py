"""Fixtures that every test may use."""

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
