"""Layers that multiply by a matrix of weights, or look rows of one up."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Final

from klever.steps.converters.caffemodel_to_netdef.site import Site
from klever.steps.errors import MalformedModelError
from klever.steps.writers.netdef import INT32


def _inner_product(site: Site) -> None:
    """Multiply all axes from ``axis`` on by weights that are stored (outputs, inputs), or transposed."""
    fields = site.message("inner_product_param")
    axis = site.axis(fields.integer("axis", 1))
    depth = prod(site.known(site.shape()[axis:]))
    width = fields.integer("num_output")
    transposed = fields.flag("transpose")
    weight = site.parameter(0, (depth, width) if transposed else (width, depth), "w")
    if fields.flag("bias_term", default=True):
        bias = site.parameter(1, (width,), "b")
    else:
        bias = site.constant(0.0, (width,), "b")
    site.add("FCTransposed" if transposed else "FC", site.bottom, weight, bias, out=site.top, axis=axis)


def _embed(site: Site) -> None:
    """Look up the rows whose numbers, as floats, are in the bottom."""
    fields = site.message("embed_param")
    rows, width = fields.integer("input_dim"), fields.integer("num_output")
    if rows < 1 or width < 1:
        raise MalformedModelError(f"the Embed {site.layer.name!r} has a table of {rows} by {width}")
    table = site.parameter(0, (rows, width), "w")
    indices = site.add("Cast", site.bottom, to=INT32)
    if fields.flag("bias_term", default=True):
        site.add("Add", site.add("Gather", table, indices), site.parameter(1, (width,), "b"), out=site.top)
    else:
        site.add("Gather", table, indices, out=site.top)


#: Layer type to its rule.
RULES: Final[Mapping[str, Callable[[Site], None]]] = {"Embed": _embed, "InnerProduct": _inner_product}
