"""What models of bare weights have in common: tensors by name, in one file or several, and the modules they tell of.

What does not belong here: the layout of any file.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, Final

from klever.steps.errors import MalformedModelError

#: Name to the type, in the format's own words, and the sizes.
Tensors = Mapping[str, tuple[str, tuple[int, ...]]]

#: More kinds of modules than any network has; names beyond are of a file that has none.
_MAX_KINDS: Final = 1000


def join_shards(shards: Iterable[Tensors]) -> Tensors:
    """Return the tensors of all shards; raises `MalformedModelError` where two hold one of the same name."""
    joined: dict[str, tuple[str, tuple[int, ...]]] = {}
    for tensors in shards:
        if repeated := next((name for name in tensors if name in joined), None):
            raise MalformedModelError(f"two shards hold the tensor {repeated[:100]!r}")
        joined.update(tensors)
    return joined


def describe_tensors(tensors: Tensors) -> dict[str, Any]:
    """Return the facts that any such model has: how many tensors and parameters, how many tensors of each type."""
    return {
        "tensors": len(tensors),
        "parameters": sum(prod(sizes) for _, sizes in tensors.values()),
        "dtypes": dict(sorted(Counter(dtype for dtype, _ in tensors.values()).items())),
    }


def count_modules(tensors: Iterable[str]) -> dict[str, int]:
    """Count modules by the last word of their path.

    ``layers.0.q_proj.weight`` and ``layers.0.q_proj.bias`` are one module of kind ``q_proj``, in every layer again:
    the closest that names come to layer types.
    """
    modules = {name.rpartition(".")[0] or name for name in tensors}
    kinds = Counter(_kind(module) for module in modules)
    return dict(sorted(kinds.items())) if len(kinds) <= _MAX_KINDS else {}


def _kind(module: str) -> str:
    words = module.split(".")
    return next((word for word in reversed(words) if word and not word.isdigit()), module)
