"""Layers that move elements about: join, part, reshape, permute, crop, repeat."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Final

from klever.steps.converters.caffemodel_to_netdef.site import NeedsShapeError, Site
from klever.steps.errors import MalformedModelError
from klever.steps.model.shapes import UNKNOWN
from klever.steps.writers.netdef import INT32


def _concat(site: Site) -> None:
    fields = site.message("concat_param")
    axis = fields.integer("axis", fields.integer("concat_dim", 1))
    site.add("Concat", *site.bottoms, out=(site.top, site.name("sizes")), axis=site.axis(axis))


def _slice(site: Site) -> None:
    fields = site.message("slice_param")
    axis = site.axis(fields.integer("axis", fields.integer("slice_dim", 1)))
    points = fields.integers("slice_point")
    if len(site.tops) == 1:
        site.pass_on(site.bottom, site.top)
        return
    if not points:
        site.add("Split", site.bottom, out=site.tops, axis=axis)
        return
    sizes = [site.top_shape(index)[axis] for index in range(len(site.tops))]
    site.add("Split", site.bottom, out=site.tops, axis=axis, split=site.known(sizes))


def _split(site: Site) -> None:
    for top in site.tops:
        site.pass_on(site.bottom, top)


def _flatten(site: Site) -> None:
    fields = site.message("flatten_param")
    start, stop = site.axis(fields.integer("axis", 1)), site.axis(fields.integer("end_axis", -1))
    shape = site.shape()
    if start > stop:
        raise MalformedModelError(f"the Flatten {site.layer.name!r} ends at axis {stop}, before {start}")
    if (start, stop) == (1, len(shape) - 1):
        site.add("Flatten", site.bottom, out=site.top, axis=1)
    else:
        _shape_to(site, (*shape[:start], UNKNOWN, *shape[stop + 1 :]), copied=start)


def _reshape(site: Site) -> None:
    """Take the sizes of the layer for some of the axes; 0 copies one."""
    fields = site.message("reshape_param")
    target = fields.message("shape").integers("dim")
    shape = site.shape()
    axis, span = fields.integer("axis"), fields.integer("num_axes", -1)
    start = axis if axis >= 0 else len(shape) + axis + 1
    stop = len(shape) if span == -1 else start + span
    new = [shape[start + at] if size == 0 else size for at, size in enumerate(target)]
    copied = start
    if all(size == 0 for size in target[: _zeros(target)]):
        copied += _zeros(target)
    _shape_to(site, (*shape[:start], *new, *shape[stop:]), copied=copied)


def _zeros(target: Sequence[int]) -> int:
    """Count the zeros at the beginning."""
    return next((at for at, size in enumerate(target) if size), len(target))


def _shape_to(site: Site, sizes: Sequence[int], copied: int) -> None:
    """Reshape so that the first ``copied`` sizes may differ from run to run."""
    target = [0] * copied + list(sizes[copied:])
    if target.count(UNKNOWN) > 1:
        raise NeedsShapeError(site.bottom)
    if not target:
        target = [1]
    site.reshape(site.bottom, target, out=site.top)


def _permute(site: Site) -> None:
    order = site.message("permute_param").integers("order")
    rank = len(site.shape())
    site.add(
        "Transpose", site.bottom, out=site.top, axes=(*order, *(axis for axis in range(rank) if axis not in order))
    )


def _crop(site: Site) -> None:
    """Cut the first bottom to the sizes of the second, from an axis on."""
    fields = site.message("crop_param")
    shape, like = site.shape(), site.shape(1)
    start = site.axis(fields.integer("axis", 2))
    offsets = fields.integers("offset")
    if offsets and len(offsets) not in (1, len(shape) - start):
        raise MalformedModelError(
            f"the Crop {site.layer.name!r} has {len(offsets)} offsets for {len(shape) - start} axes"
        )
    cuts = []
    for place, axis in enumerate(range(start, len(shape))):
        offset = offsets[place if len(offsets) > 1 else 0] if offsets else 0
        if offset == 0 and shape[axis] == like[axis] == UNKNOWN and axis == 0:
            raise NeedsShapeError(site.bottom)
        size, wanted = site.known((shape[axis], like[axis]))
        if not 0 <= offset <= size - wanted:
            raise MalformedModelError(
                f"the Crop {site.layer.name!r} cannot take {wanted} from {offset} on of a size of {size}"
            )
        if wanted != size:
            cuts.append((axis, offset, offset + wanted))
    source = site.bottom
    for index, (axis, first, end) in enumerate(cuts):
        source = site.cut(source, len(shape), axis, first, end, site.top if index == len(cuts) - 1 else "")
    site.pass_on(source, site.top)


def _tile(site: Site) -> None:
    fields = site.message("tile_param")
    tiles = fields.integer("tiles")
    if tiles < 1:
        raise MalformedModelError(f"the Tile {site.layer.name!r} repeats {tiles} times")
    site.add("Tile", site.bottom, out=site.top, tiles=tiles, axis=site.axis(fields.integer("axis", 1)))


def _shuffle(site: Site) -> None:
    """Spread the groups of channels, as ShuffleNet does."""
    group = site.message("shuffle_channel_param").integer("group", 1)
    shape = site.shape()
    (channels,) = site.known(shape[1:2])
    if group < 1 or channels % group or len(shape) != 4:
        raise MalformedModelError(f"the ShuffleChannel {site.layer.name!r} cannot part {channels} into {group}")
    site.add("ChannelShuffle", site.bottom, out=site.top, group=group, order="NCHW")


def _batch_reindex(site: Site) -> None:
    site.expect(2)
    site.add("Gather", site.bottom, site.add("Cast", site.bottoms[1], to=INT32), out=site.top)


def _reorganise(site: Site) -> None:
    """Darknet's reordering as YOLO's Caffe layer does it; see its ``reorg_cpu`` for the order, which is peculiar.

    The layer takes its bottom for an image with fewer channels and more pixels, whatever it is.
    """
    fields = site.message("reorg_param")
    stride = fields.integer("stride", 1)
    shape = site.shape()
    channels, height, width = site.known(shape[1:]) if len(shape) == 4 else (0, 0, 0)
    if stride < 1 or channels < 1 or channels % stride**2:
        raise MalformedModelError(f"the Reorg {site.layer.name!r} cannot part {shape} by a stride of {stride}")
    if prod((channels, height, width)) > 50_000_000:
        raise MalformedModelError(f"the Reorg {site.layer.name!r} takes an image of {shape}")
    parts = channels // stride**2
    reverse = fields.flag("reverse")
    if reverse:
        # (offset, c2) x (j, i) to c2 x (j, row) x (i, column).
        split = site.reshape(site.bottom, (0, stride, stride, parts, height, width))
        moved = site.add("Transpose", split, axes=(0, 3, 4, 1, 5, 2))
        site.reshape(moved, (0, parts, height * stride, width * stride), out=site.top)
        return
    # The flat data are read as (parts, height * stride, width * stride).
    split = site.reshape(site.bottom, (0, parts, height, stride, width, stride))
    moved = site.add("Transpose", split, axes=(0, 3, 5, 1, 2, 4))
    site.reshape(moved, (0, *site.known(site.top_shape()[1:])), out=site.top)


#: Layer type to its rule.
RULES: Final[Mapping[str, Callable[[Site], None]]] = {
    "BatchReindex": _batch_reindex,
    "Concat": _concat,
    "Crop": _crop,
    "Flatten": _flatten,
    "Permute": _permute,
    "Reorg": _reorganise,
    "Reshape": _reshape,
    "ShuffleChannel": _shuffle,
    "Slice": _slice,
    "Split": _split,
    "Tile": _tile,
}
