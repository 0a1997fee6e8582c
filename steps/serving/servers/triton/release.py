"""Releases of Triton, which are the tags of its image, and what came and went with them."""

import re
from typing import Final, NamedTuple

from klever.steps.errors import ServingError

_FORM: Final = re.compile(r"(\d\d)\.(0[1-9]|1[0-2])", re.ASCII)


class Release(NamedTuple):
    """A monthly release; they compare by age."""

    year: int
    month: int

    def __str__(self) -> str:
        return f"{self.year:02}.{self.month:02}"

    @property
    def image(self) -> str:
        """The public image with every backend that the release has."""
        return f"nvcr.io/nvidia/tritonserver:{self}-py3"


#: What is meant where nobody says another.
CURRENT: Final = Release(26, 7)
#: The first whose API is the Open Inference Protocol: Triton 2.0.
OLDEST: Final = Release(20, 6)
#: From here on ``backend`` alone names what runs a model; before, ``platform`` did (model_config.proto).
NAMES_BACKENDS: Final = Release(21, 1)
#: From here on a configuration is completed from the model's file unless that is switched off (release notes of 2.24).
COMPLETES_CONFIGURATIONS: Final = Release(22, 7)
#: From here on it can be told where to listen (pull request 4136); before, it listens everywhere.
LISTENS_WHERE_TOLD: Final = Release(22, 5)


def parse_release(text: str) -> Release:
    """Parse ``YY.MM``; raises `ServingError` for anything else and for what is older than the protocol."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ServingError(f"{text[:40]!r} is no release of Triton", next_step=f"write year and month, as in {CURRENT}")
    release = Release(int(match[1]), int(match[2]))
    if release < OLDEST:
        raise ServingError(
            f"Triton {release} does not speak the Open Inference Protocol", next_step=f"use {OLDEST} or later"
        )
    return release
