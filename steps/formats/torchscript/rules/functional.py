"""Functions of ``torch.nn.functional`` whose arguments are not those of the operator of the same name.

What does not belong here: the operators' rules, which these reorder arguments for.
"""

from typing import Final

from klever.steps.formats.torchscript.rules.elementwise import softmax
from klever.steps.formats.torchscript.rules.layers import embedding, embedding_bag
from klever.steps.formats.torchscript.values import Arguments, Keywords, Known, Rule


def _softmax_function(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``torch.nn.functional.softmax(input, dim, _stacklevel, dtype)``."""
    return softmax([values[0], None, *values[3:]], keywords)


RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(("softmax", "log_softmax"), _softmax_function),
    "embedding": lambda v, k: embedding([v[1], v[0]], k),
    "embedding_bag": lambda v, k: embedding_bag([v[1], v[0]], k)[0],
}
