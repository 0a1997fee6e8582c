"""Where the maxima of a pooling lie, and what SegNet does with that: put values back to those places.

From ``pooling_layer.cpp`` of BVLC Caffe, whose second top holds the place of each maximum in its plane, and
``upsample_layer.cpp`` of SegNet. Caffe2 finds maxima with their places on graphics cards alone, so it is done by a
convolution that lays each window out, and by comparing.
"""

from collections.abc import Sequence
from math import prod
from typing import Final

from klever.steps.converters.caffemodel_to_netdef.site import Site, UncoveredError
from klever.steps.formats.caffemodel.graph import Layer
from klever.steps.formats.caffemodel.windows import per_axis
from klever.steps.writers.netdef import FLOAT, INT64

#: C++'s ``-FLT_MAX``, below which Caffe finds no maximum.
_LEAST: Final = -3.4028234663852886e38
_MAX_PLACES: Final = 1_000_000


def place(site: Site, picked: str, window: Sequence[Sequence[int]], windows: Sequence[int], out: str) -> None:
    """Give the place of the first maximum of each window, counted in its plane.

    ``picked`` is (images, channels * places of the window, rows, columns); ``window`` its kernels, strides and pads.
    """
    kernels, strides, pads = window
    channels, _, width = site.known(site.shape()[1:])
    if prod(windows) > _MAX_PLACES:
        raise UncoveredError(f"the mask of {prod(windows)} maxima")
    laid = site.reshape(picked, (0, channels, prod(kernels), prod(windows)))
    best = site.add("ArgMax", laid, axis=2, keepdims=0)
    inner = [float(row * width + column) for row in range(kernels[0]) for column in range(kernels[1])]
    outer = [
        float((row * strides[0] - pads[0]) * width + column * strides[1] - pads[1])
        for row in range(windows[0])
        for column in range(windows[1])
    ]
    found = site.add("Gather", site.constant(inner, (len(inner),), "inner"), best)
    found = site.add("Add", found, site.constant(outer, (len(outer),), "outer"))
    site.reshape(found, (0, channels, *windows), out)


def padded(site: Site, pads: Sequence[int], tails: Sequence[int]) -> str:
    """Return the bottom with a border that no maximum lies in."""
    if not any((*pads, *tails)):
        return site.bottom
    edges = (*pads, *(pad + tail for pad, tail in zip(pads, tails, strict=True)))
    return site.add("PadImage", site.bottom, pads=edges, value=_LEAST)


def unpool(site: Site) -> None:
    """Put each value of the first bottom to the place in the second, and zeros elsewhere.

    Only where that second bottom is the mask of a pooling whose windows do not overlap, and this undoes it.
    """
    pooling = site.producer(site.bottoms[1])
    image = None if pooling is None else site.shape_of(pooling.bottoms[0])
    steps = None if pooling is None else _parts(pooling, site.bottoms[1])
    if image is None or steps is None or len(image) != 4 or site.top_shape()[2:] != image[2:]:
        raise UncoveredError("a mask that is not that of a pooling without overlaps which it undoes")
    channels, height, width = site.known(site.shape()[1:])
    if height * width > _MAX_PLACES:
        raise UncoveredError(f"the mask of {height * width} maxima")
    rows, columns = site.known(image[2:])
    outer = [row * steps[0] * columns + column * steps[1] for row in range(height) for column in range(width)]
    inner = [row * columns + column for row in range(steps[0]) for column in range(steps[1])]
    place = site.add("Cast", site.bottoms[1], to=INT64)
    place = site.add("Sub", place, site.integers(outer, (height, width), "outer"))
    hit = site.add("EQ", site.add("ExpandDims", place, dims=(2,)), site.integers(inner, (len(inner), 1, 1), "inner"))
    spread = site.add("Mul", site.add("Cast", hit, to=FLOAT), site.add("ExpandDims", site.bottom, dims=(2,)))
    spread = site.add("Transpose", site.reshape(spread, (0, channels, *steps, height, width)), axes=(0, 1, 4, 2, 5, 3))
    whole = site.reshape(spread, (0, channels, height * steps[0], width * steps[1]))
    for axis, (size, wanted) in enumerate(((height * steps[0], rows), (width * steps[1], columns)), start=2):
        if wanted != size:
            whole = site.cut(whole, 4, axis, 0, wanted)
    site.pass_on(whole, site.top)


def _parts(pooling: Layer, mask: str) -> tuple[int, int] | None:
    """Return the sizes of the windows of a pooling that parts its image without overlaps and padding."""
    fields = pooling.fields.message("pooling_param")
    kernels, strides = per_axis(fields, "kernel_size", 0, 2), per_axis(fields, "stride", 1, 2)
    parts = kernels == strides and not any(per_axis(fields, "pad", 0, 2)) and min(kernels) > 0
    if pooling.type != "Pooling" or pooling.tops[1:] != (mask,) or not parts or fields.flag("global_pooling"):
        return None
    return kernels[0], kernels[1]
