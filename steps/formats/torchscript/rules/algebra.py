"""Products of matrices and tensors.

What does not belong here: products with a layer's weight (`layers`), those place by place (`elementwise`).
"""

from typing import Final

from klever.steps.formats.torchscript.dtypes import joined
from klever.steps.formats.torchscript.values import Arguments, Keywords, Known, Rule, ranked, tensor
from klever.steps.model import shapes


def _matrix_product(values: Arguments, _: Keywords) -> Known:
    """Apply ``addmm(bias, a, b)``, which takes matrices only."""
    first, second = tensor(values[1]), tensor(values[2])
    if second.shape is None or len(second.shape) != 2:
        raise TypeError
    first.demand((-1, second.shape[0]), second.dtype)
    if first.shape is None:
        raise TypeError
    return Known(second.dtype, (first.shape[0], second.shape[1]))


def _matmul(values: Arguments, _: Keywords) -> Known:
    first, second = tensor(values[0]), tensor(values[1])
    return Known(first.dtype if first.dtype == second.dtype else None, shapes.matmul(first.shape, second.shape))


def _batched_product(values: Arguments, keywords: Keywords) -> Known:
    return _matmul(values[-2:], keywords)


def _einsum(values: Arguments, _: Keywords) -> Known:
    equation, parts = values[0].replace(" ", ""), [tensor(part) for part in values[1]]
    terms, _, result = equation.partition("->")
    if not result.isalpha() or not terms.replace(",", "").isalpha():
        raise TypeError
    sizes: dict[str, int] = {}
    for term, part in zip(terms.split(","), parts, strict=True):
        for letter, length in zip(term, ranked(part), strict=True):
            sizes[letter] = max(sizes.get(letter, -1), length)
    return Known(joined(parts), tuple(sizes[letter] for letter in result))


RULES: Final[dict[str, Rule]] = {
    "addmm": _matrix_product,
    "mm": lambda v, k: _matrix_product([None, *v], k),
    "matmul": _matmul,
    **dict.fromkeys(("bmm", "baddbmm"), _batched_product),
    "einsum": _einsum,
}
