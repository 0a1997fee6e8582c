"""A layer where it stands in its network: what a rule asks about it and what it answers with."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from klever.steps.converters.caffemodel_to_netdef.network import Argument, Fill, Network
from klever.steps.encodings.prototext import Fields
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.formats.caffemodel.graph import Layer
from klever.steps.formats.caffemodel.weights import Blob
from klever.steps.model.shapes import UNKNOWN, Shape, normalise_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Constants that follow from sizes alone, such as prior boxes, in elements: ten times those of SSD at 1024 pixels.
_MAX_CONSTANT = 10_000_000
#: Integers are indices along one axis; no published network looks so many up.
_MAX_INTEGERS = 1_000_000


class UncoveredError(Exception):
    """Caffe2 has nothing that computes what the layer does; the text says what it is about it."""


class NeedsShapeError(Exception):
    """The operator depends on a size that is not known yet."""


class Site:
    """One layer being translated."""

    def __init__(
        self,
        layer: Layer,
        network: Network,
        shapes: Mapping[str, Shape],
        stored: Sequence[Blob],
        producers: Mapping[str, Layer] = MappingProxyType({}),
    ) -> None:
        self.layer = layer
        self.bottoms = layer.bottoms
        self.tops = layer.tops
        self.stored = stored
        self._network = network
        self._shapes = shapes
        self._producers = producers

    # What the layer is.

    def message(self, name: str) -> Fields:
        """Return the layer's parameters of a kind: ``pooling_param``."""
        return self.layer.fields.message(name)

    @property
    def bottom(self) -> str:
        """The first blob that is read."""
        if not self.bottoms:
            raise MalformedModelError(f"the layer {self.layer.name!r} ({self.layer.type}) reads no blob")
        return self.bottoms[0]

    @property
    def top(self) -> str:
        """The first blob that is written."""
        if not self.tops:
            raise MalformedModelError(f"the layer {self.layer.name!r} ({self.layer.type}) writes no blob")
        return self.tops[0]

    def expect(self, bottoms: int, tops: int = 1) -> None:
        """Make sure of the number of blobs; raises `MalformedModelError`."""
        if (len(self.bottoms), len(self.tops)) != (bottoms, tops):
            raise MalformedModelError(
                f"the layer {self.layer.name!r} ({self.layer.type}) has {len(self.bottoms)} bottoms and "
                f"{len(self.tops)} tops, not {bottoms} and {tops}"
            )

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Return the shape of a bottom, of which sizes may be unknown but not the rank."""
        if index >= len(self.bottoms):
            raise MalformedModelError(f"the layer {self.layer.name!r} ({self.layer.type}) has too few bottoms")
        found = self._shapes.get(self.bottoms[index])
        if found is None:
            raise NeedsShapeError(self.bottoms[index])
        return found

    def shape_of(self, blob: str) -> Shape:
        """Return what is known of the shape of any blob."""
        return self._shapes.get(blob)

    def producer(self, blob: str) -> Layer | None:
        """Return the layer that wrote a blob, None for an input."""
        return self._producers.get(blob)

    def known(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Insist that sizes are known."""
        if UNKNOWN in sizes:
            raise NeedsShapeError(self.bottoms[0] if self.bottoms else "")
        return tuple(sizes)

    def top_shape(self, index: int = 0) -> tuple[int, ...]:
        """Return the shape of a top."""
        found = self._shapes.get(self.tops[index])
        if found is None:
            raise NeedsShapeError(self.tops[index])
        return found

    def axis(self, axis: int, index: int = 0) -> int:
        """Count an axis of a bottom from the front."""
        return normalise_axis(axis, len(self.shape(index)))

    def choice(self, fields: Fields, name: str, words: Mapping[int, str], default: str) -> str:
        """Return an enumerator, which text may also give by its number."""
        text = fields.text(name, default)
        found: str = words.get(int(text), text) if text.isdigit() and len(text) < 4 else text
        if found not in words.values():
            raise UncoveredError(f"{name} {found[:40]}")
        return found

    # What it becomes.

    def name(self, role: str) -> str:
        """Return a unique name for something of this layer's."""
        return self._network.unique(f"{self.layer.name}_{role}")

    def add(
        self,
        kind: str,
        *inputs: str,
        out: str | Sequence[str] = "",
        arguments: Mapping[str, Argument] = MappingProxyType({}),
        **named: Argument,
    ) -> str:
        """Add an operator and return its first output; without ``out`` it is a blob between the layer's own."""
        outputs = (out,) if isinstance(out, str) else tuple(out)
        if not outputs[0]:
            outputs = (self.name(kind.lower()), *outputs[1:])
        self._network.add(kind, inputs, outputs, self.layer.name, {**arguments, **named})
        return outputs[0]

    def pass_on(self, source: str, out: str) -> None:
        """Let ``out`` hold what ``source`` does."""
        if source != out:
            self.add("Copy", source, out=out)

    def reshape(self, source: str, shape: Sequence[int], out: str = "") -> str:
        """Reshape by Caffe2's rule: 0 copies the size at the same place, one -1 takes the rest."""
        return self.add("Reshape", source, out=(out, self.name("old_shape")), shape=tuple(shape))

    def cut(self, source: str, rank: int, axis: int, start: int, stop: int, out: str = "") -> str:
        """Take ``[start, stop)`` along one axis; Caffe2 slices no more than one at a time."""
        starts, ends = [0] * rank, [-1] * rank
        starts[axis], ends[axis] = start, stop
        return self.add("Slice", source, out=out, starts=tuple(starts), ends=tuple(ends))

    def constant(self, values: float | Sequence[float], shape: Sequence[int] = (), role: str = "constant") -> str:
        """Fill a blob with a number everywhere, or with few numbers.

        A number alone is a scalar: it leaves the rank of what it meets, and no reader takes it for one of the stand-ins
        of shape (1,) that exporters fill for inputs.
        """
        if isinstance(values, int | float):
            return self._fill(role, Fill(tuple(shape), constant=float(values)))
        numbers = tuple(values)
        return self.computed(role, shape, (), lambda _: _array(numbers))

    def integers(self, values: Sequence[int], shape: Sequence[int] = (), role: str = "indices") -> str:
        """Fill 64-bit integers, a vector where no shape is given."""
        if len(values) > _MAX_INTEGERS:
            raise UncoveredError(f"a choice among {len(values)} places")
        return self._fill(role, Fill(tuple(shape) or (len(values),), integers=tuple(values)))

    def parameter(self, index: int, shape: Sequence[int], role: str) -> str:
        """Fill a blob with a stored one as it is; its shape is that which the network gives it."""
        return self._fill(role, Fill(tuple(shape), (self.blob(index, shape),)))

    def computed(
        self,
        role: str,
        shape: Sequence[int],
        blobs: Sequence[Blob],
        compute: "Callable[[Sequence[NDArray[Any]]], NDArray[Any]]",
    ) -> str:
        """Fill a blob with what is computed of stored ones when the weights are written."""
        if prod(shape) > max([_MAX_CONSTANT, *(2 * blob.count for blob in blobs)]):
            raise LimitExceededError(f"the layer {self.layer.name!r} asks for a constant of {prod(shape)} numbers")
        return self._fill(role, Fill(tuple(shape), tuple(blobs), compute))

    def blob(self, index: int, shape: Sequence[int]) -> Blob:
        """Return a stored blob, which has to have a shape; sizes of one count for nothing, as older files pad so."""
        if index >= len(self.stored):
            raise MalformedModelError(
                f"the caffemodel stores {len(self.stored)} blobs for the layer {self.layer.name!r}, not {index + 1}",
                next_step="check that the prototxt and the caffemodel belong together",
            )
        found = self.stored[index]
        if [size for size in found.shape if size != 1] != [size for size in shape if size != 1]:
            raise MalformedModelError(
                f"blob {index} of the layer {self.layer.name!r} has the shape {found.shape}, not {tuple(shape)}",
                next_step="check that the prototxt and the caffemodel belong together",
            )
        if found.count != prod(found.shape):
            raise MalformedModelError(f"blob {index} of the layer {self.layer.name!r} has a shape and no numbers")
        return found

    def fill_as(self, name: str, fill: Fill) -> None:
        """Let the init net fill one of the source's own blobs."""
        self._network.fills[name] = fill

    def _fill(self, role: str, fill: Fill) -> str:
        return self._network.fill(f"{self.layer.name}_{role}", fill)


def _array(numbers: Sequence[float]) -> "NDArray[Any]":
    import numpy as np

    return np.array(numbers, np.float32)
