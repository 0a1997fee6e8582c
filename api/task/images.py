"""Choose the image that a conversion runs in, by the table that the templates give.

What does not belong here: the table.
"""

from collections.abc import Collection, Sequence
from typing import Final

from klever.steps.environments import environment
from klever.steps.errors import EnvironmentMissingError, NotFoundError

#: Every image that converts runs ONNX with what it writes ONNX with.
_EVERYWHERE: Final = "prove-onnx"
#: In the table: a conversion in process, for which every image of the table will do and this one is the smallest.
_IN_PROCESS: Final = ""


def parse_table(rows: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return image to environments from ``ENVIRONMENT=IMAGE`` rows, the image for conversions in process first.

    Raises ValueError that says which row is wrong.
    """
    images: dict[str, set[str]] = {}
    for row in sorted(rows, key=lambda each: not each.startswith("=")):
        name, equals, image = row.partition("=")
        if not equals or not image:
            raise ValueError(f"got {row!r}, expected ENVIRONMENT=IMAGE")
        try:
            images.setdefault(image, set()).add(environment(name).id if name else _IN_PROCESS)
        except NotFoundError as error:
            raise ValueError(error.cause) from None
    return {image: frozenset(names) for image, names in images.items()}


def choose_image(table: dict[str, frozenset[str]], required: Collection[str], useful: Collection[str] = ()) -> str:
    """Return the image that has all ``required`` environments and most of the ``useful`` ones.

    Raises `EnvironmentMissingError` where none has; an empty table gives no image.
    """
    if not table:
        return ""
    needed = set(required) - {_EVERYWHERE, _IN_PROCESS}
    fitting = [image for image, has in table.items() if needed <= has]
    if not fitting:
        raise EnvironmentMissingError(
            f"no image has {' and '.join(sorted(needed))}",
            next_step="lower require, or convert on a machine that has made the environment",
        )
    # The first of the best: Python's max keeps it.
    return max(fitting, key=lambda image: len(table[image] & set(useful)))
