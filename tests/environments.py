"""The environments of frameworks for tests: made on request, kept between runs, skipped by name elsewhere.

A test that needs one is marked with its id and then uses `klever.steps.environments.run` or a verb as any caller does:

    @pytest.mark.environment("prove-mxnet")
    def test_mxnet_computes_what_the_corpus_says() -> None: ...

Without ``KLEVER_TEST_ENVIRONMENTS`` in the variables such a test is skipped, unless the interpreter that runs the tests
serves the environment: one is a download of up to a gigabyte. With it (``.ci/run`` sets it) the environment is made the
first time, by one process while the others wait, in ``KLEVER_ENVIRONMENTS`` or else in
``~/.cache/klever-test-environments``, and a failure to make it fails the test.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from klever.steps.environments.create import create
from klever.steps.environments.locate import ENVIRONMENTS_VARIABLE, serves
from klever.steps.environments.table import environment

ASKED_VARIABLE = "KLEVER_TEST_ENVIRONMENTS"


@pytest.fixture(autouse=True)
def environments_of_the_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Provide the environments that the test is marked with, or skip it."""
    wanted = [name for marker in request.node.iter_markers("environment") for name in marker.args]
    if not wanted:
        yield
        return
    missing = [name for name in wanted if not serves(environment(name))]
    if missing and not os.environ.get(ASKED_VARIABLE):
        pytest.skip(f"needs the environment {', '.join(missing)}; set {ASKED_VARIABLE}=1 to have it made")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "klever-test-environments"
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get(ENVIRONMENTS_VARIABLE):
            patch.setenv(ENVIRONMENTS_VARIABLE, str(cache))
        for name in wanted:
            create(environment(name))
        yield
