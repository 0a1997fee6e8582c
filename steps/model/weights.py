"""What models of bare weights have in common: modules, told by the names of tensors.

What does not belong here: the layout of any file.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

#: More kinds of modules than any network has; names beyond are of a file that has none.
_MAX_KINDS: Final = 1000


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
