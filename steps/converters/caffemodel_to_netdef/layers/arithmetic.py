"""Layers that join several blobs element by element, and those that reduce one."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Final

from klever.steps.converters.caffemodel_to_netdef.layers.activations import affine
from klever.steps.converters.caffemodel_to_netdef.site import Site, UncoveredError
from klever.steps.errors import MalformedModelError
from klever.steps.writers.netdef import FLOAT

_ELTWISE: Final = {0: "PROD", 1: "SUM", 2: "MAX"}
_REDUCTIONS: Final = {1: "SUM", 2: "ASUM", 3: "SUMSQ", 4: "MEAN"}


def _eltwise(site: Site) -> None:
    fields = site.message("eltwise_param")
    operation = site.choice(fields, "operation", _ELTWISE, "SUM")
    coefficients = fields.numbers("coeff")
    if len(site.bottoms) < 2 or (coefficients and len(coefficients) != len(site.bottoms)):
        raise MalformedModelError(
            f"the Eltwise {site.layer.name!r} has {len(site.bottoms)} bottoms and {len(coefficients)} coefficients"
        )
    if site.top in site.bottoms[2 if operation == "PROD" else 0 :]:
        # Caffe clears, or overwrites, the one before it reads the other.
        raise UncoveredError("a top that is one of its own bottoms")
    if operation == "MAX":
        site.add("Max", *site.bottoms, out=site.top)
    elif operation == "PROD":
        *before, last = site.bottoms
        product = before[0]
        for bottom in before[1:]:
            product = site.add("Mul", product, bottom)
        site.add("Mul", product, last, out=site.top)
    else:
        terms = [
            bottom if factor == 1 else site.add("Mul", bottom, site.constant(factor, role="coeff"))
            for bottom, factor in zip(site.bottoms, coefficients or [1.0] * len(site.bottoms), strict=True)
        ]
        site.add("Sum", *terms, out=site.top)


def _axpy(site: Site) -> None:
    """SENet's layer: a factor for each channel of each image, times the second bottom, plus the third."""
    site.expect(3)
    scale, image, added = site.bottoms
    if len(site.shape()) == 2:
        scale = site.add("ExpandDims", scale, dims=(2, 3))
    site.add("Add", site.add("Mul", image, scale), added, out=site.top)


def _reduction(site: Site) -> None:
    """Reduce all axes from one on."""
    fields = site.message("reduction_param")
    operation = site.choice(fields, "operation", _REDUCTIONS, "SUM")
    rank = len(site.shape())
    axes = tuple(range(site.axis(fields.integer("axis")), rank))
    coefficient = fields.number("coeff", 1.0)
    source = site.bottom
    if operation in ("ASUM", "SUMSQ"):
        source = site.add("Abs" if operation == "ASUM" else "Sqr", source)
    kind = "ReduceMean" if operation == "MEAN" else "ReduceSum"
    if coefficient == 1:
        site.add(kind, source, out=site.top, axes=axes, keepdims=0)
    else:
        affine(site, site.add(kind, source, axes=axes, keepdims=0), coefficient, 0.0, site.top)


def _arg_max(site: Site) -> None:
    """Find the places of the largest values, along an axis or in each whole image.

    Of equal values Caffe prefers the one that lies furthest back, Caffe2 the first; so it searches backwards.
    """
    fields = site.message("argmax_param")
    best = fields.integer("top_k", 1)
    values = fields.flag("out_max_val")
    shape = site.shape()
    along = "axis" in fields
    if along:
        axis = site.axis(fields.integer("axis"))
        source = site.bottom
    else:
        axis = 1
        source = site.add("Flatten", site.bottom, axis=1)
    size = prod(site.known(shape[axis : axis + 1] if along else shape[1:]))
    if not 1 <= best <= size:
        raise MalformedModelError(f"the ArgMax {site.layer.name!r} wants {best} of {size} values")
    backwards = site.add("Gather", source, site.integers(range(size - 1, -1, -1)), axis=axis)
    found = site.name("values")
    place = site.name("places")
    if along and values:
        site.add("TopK", backwards, out=(site.top, place), k=best, axis=axis)
        return
    site.add("TopK", backwards, out=(found, place), k=best, axis=axis)
    minus = site.add("Negative", site.add("Cast", place, to=FLOAT))
    last = site.constant(float(size - 1), role="last")
    if along:
        site.add("Add", minus, last, out=site.top)
        return
    place = site.add("Add", minus, last)
    # One row of places, and one of values where they are asked for, in as many axes as the bottom has.
    behind = (1,) * max(len(shape) - 3, 0)
    rows = [site.reshape(blob, (0, 1, best, *behind)) for blob in ((place, found) if values else (place,))]
    if values:
        site.add("Concat", *rows, out=(site.top, site.name("sizes")), axis=1)
    else:
        site.pass_on(rows[0], site.top)


#: Layer type to its rule.
RULES: Final[Mapping[str, Callable[[Site], None]]] = {
    "ArgMax": _arg_max,
    "Axpy": _axpy,
    "Eltwise": _eltwise,
    "Reduction": _reduction,
}
