"""Which environment reads what a version of scikit-learn wrote: pickles are not carried from each to each.

Trees gained a field with 1.3 (``missing_go_to_left``), which older pickles lack, and losses moved with 1.0 and 1.1.
"""

import re
from typing import Final

#: The first version that an environment serves, the newest first.
_ENVIRONMENTS: Final = (
    ((1, 3), "convert-sklearn"),
    ((1, 0), "convert-sklearn-1.2"),
    ((0, 0), "convert-sklearn-0.24"),
)
_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})", re.ASCII)


def environment_of(version: object) -> str:
    """Return the environment for a pickle's ``_sklearn_version``; the oldest where it has none, as before 0.18."""
    match = _VERSION.match(version) if isinstance(version, str) else None
    parsed = (int(match[1]), int(match[2])) if match else (0, 0)
    return next(name for first, name in _ENVIRONMENTS if parsed >= first)
