"""The rules: how each of Caffe's layers is said in Caffe2's operators, in one module a family.

A rule gets a `Site` and adds operators and fills to it. It raises `UncoveredError` for what Caffe2 has no operators
for, `NeedsShapeError` where it depends on sizes that are not known. Rules import no numpy: what is computed of weights
is a function that runs when they are written.
"""

from collections.abc import Callable, Mapping
from typing import Final

from klever.steps.converters.caffemodel_to_netdef.layers import (
    activations,
    arithmetic,
    arrangement,
    detection,
    ends,
    normalisation,
    products,
    recurrent,
    windows,
)
from klever.steps.converters.caffemodel_to_netdef.site import Site

#: Layer type to its rule.
RULES: Final[Mapping[str, Callable[[Site], None]]] = {
    **activations.RULES,
    **arithmetic.RULES,
    **arrangement.RULES,
    **detection.RULES,
    **ends.RULES,
    **normalisation.RULES,
    **products.RULES,
    **recurrent.RULES,
    **windows.RULES,
}
