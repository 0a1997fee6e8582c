"""The network of a prototxt as a value: its layers in order for one phase, its inputs and its outputs.

    >>> from klever.steps.encodings.prototext import parse_prototext
    >>> graph = build_graph(parse_prototext('''
    ...     input: "x" input_shape { dim: 1 dim: 4 }
    ...     layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }'''))
    >>> graph.inputs, graph.outputs
    ((Input(name='x', shape=(1, 4)),), ('y',))

What Caffe's ``Net::Init`` does, without allocating anything: `FilterNet`, the upgrades, and which blobs remain
unconsumed. What does not belong here: what a layer computes (see ``shapes``), and the weights (see ``weights``).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from klever.steps.encodings.prototext import Fields, Value
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.formats.caffemodel.upgrade import upgrade_v1
from klever.steps.model.shapes import UNKNOWN, Shape

#: Layers that produce data of their own; in deployment whoever calls the network stands in for them.
DATA_TYPES: Final = frozenset(
    {
        "AnnotatedData",
        "Data",
        "DummyData",
        "HDF5Data",
        "ImageData",
        "LMDBData",
        "MemoryData",
        "VideoData",
        "WindowData",
    }
)
#: Layers that judge a prediction by a label instead of predicting; every type that ends in ``Loss`` does too.
_JUDGES: Final = frozenset({"Accuracy", "DetectionEvaluate", "SoftmaxWithLoss", "SoftmaxWithLossOHEM"})
#: What `Blob::Reshape` accepts.
MAX_SIZE: Final = 2**31 - 1
#: More than any published network has by two orders of magnitude.
_MAX_LAYERS: Final = 20_000
_MAX_BLOBS: Final = 60_000


class Input(NamedTuple):
    """A blob that whoever runs the network provides; sizes in elements, ``shape`` None where it is not stated."""

    name: str
    shape: Shape


class Layer(NamedTuple):
    """One layer under its type of today (V2), with the blobs that it reads and writes.

    ``fields`` is the whole LayerParameter; ``layer.fields.message("pooling_param")`` its typed parameters. A name
    in ``tops`` that is also in ``bottoms`` is computed in place.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    fields: Fields


class Graph(NamedTuple):
    """A network in one phase: layers in the order in which they run."""

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    layers: tuple[Layer, ...]
    #: Layers of the file that only judge a prediction by labels, and so are no part of what is deployed.
    judges: tuple[Layer, ...] = ()

    def count_types(self) -> dict[str, int]:
        """Count the layers of the phase by type, judges with the rest; ``input`` fields are no layers."""
        return dict(Counter(layer.type for layer in (*self.layers, *self.judges)))


class State(NamedTuple):
    """What `NetStateRule` decides by."""

    phase: str = "TEST"
    level: int = 0
    stages: frozenset[str] = frozenset()

    def meets(self, rule: Fields) -> bool:
        """Tell whether a rule holds in this state (``Net::StateMeetsRule``)."""
        if "phase" in rule and _phase(rule) != self.phase:
            return False
        if "min_level" in rule and self.level < rule.integer("min_level"):
            return False
        if "max_level" in rule and self.level > rule.integer("max_level"):
            return False
        wanted, unwanted = rule.texts("stage"), rule.texts("not_stage")
        return self.stages.issuperset(wanted) and self.stages.isdisjoint(unwanted)


def build_graph(net: Fields, phase: str = "TEST") -> Graph:
    """Build the network of a NetParameter for a phase.

    A network without declared inputs, as it is trained and tested with, takes for its inputs what its data layers
    produce, labels aside, and without the layers that judge by those labels. Raises `MalformedModelError` where a
    layer reads a blob that nothing before it writes, where two layers write the same blob, and where a field is not
    what it has to be.
    """
    stated = net.message("state")
    state = State(phase, stated.integer("level"), frozenset(stated.texts("stage")))
    layers = tuple(layer for layer in _layers(net) if _included(layer.fields, layer.name, state))
    if not layers:
        raise MalformedModelError(f"the prototxt holds no layer for the phase {phase}")
    inputs = [*_declared(net), *_input_layers(layers)]
    judges: tuple[Layer, ...] = ()
    if not inputs:
        layers, judges, inputs = _deploy(layers)
    outputs = _unconsumed(layers, {given.name for given in inputs})
    return Graph(net.text("name"), tuple(inputs), outputs, layers, judges)


def _layers(net: Fields) -> Iterator[Layer]:
    found = [*map(upgrade_v1, net.messages("layers")), *net.messages("layer")]
    if len(found) > _MAX_LAYERS:
        raise LimitExceededError(f"the network has more than {_MAX_LAYERS} layers")
    blobs = 0
    for index, fields in enumerate(found):
        name = fields.text("name") or f"#{index}"
        kind = fields.text("type")
        if not kind:
            raise MalformedModelError(f"the layer {name!r} has no type")
        bottoms, tops = fields.texts("bottom"), fields.texts("top")
        blobs += len(bottoms) + len(tops)
        if blobs > _MAX_BLOBS:
            raise LimitExceededError(f"the layers of the network name more than {_MAX_BLOBS} blobs")
        yield Layer(name, kind, bottoms, tops, fields)


def _phase(fields: Fields) -> str:
    phase = fields.text("phase")
    return {"0": "TRAIN", "1": "TEST"}.get(phase, phase)


def _included(fields: Fields, name: str, state: State) -> bool:
    include, exclude = fields.messages("include"), fields.messages("exclude")
    if include and exclude:
        raise MalformedModelError(f"the layer {name!r} has both include and exclude rules")
    if include:
        return any(state.meets(rule) for rule in include)
    return not any(state.meets(rule) for rule in exclude)


def checked(sizes: Iterable[int], owner: str) -> tuple[int, ...]:
    """Return sizes of a blob, -1 for a dynamic one; raises `MalformedModelError` for what Caffe would refuse."""
    sizes = tuple(sizes)
    if any(not UNKNOWN <= size <= MAX_SIZE for size in sizes) or len(sizes) > 32:
        raise MalformedModelError(f"{owner} has a shape that no blob can have")
    return sizes


def _declared(net: Fields) -> Iterator[Input]:
    """Yield the inputs of the fields ``input``, ``input_dim`` (four for each) and ``input_shape``."""
    names = net.texts("input")
    shapes = [checked(shape.integers("dim"), "an input") for shape in net.messages("input_shape")]
    sizes = checked((), "") if shapes else net.integers("input_dim")
    if sizes:
        each = len(sizes) if len(names) == 1 else 4
        shapes = [checked(sizes[at : at + each], "an input") for at in range(0, len(sizes), each)]
    if len(shapes) == 1:
        shapes *= len(names)
    for index, name in enumerate(names):
        yield Input(name, shapes[index] if index < len(shapes) else None)


def _input_layers(layers: Sequence[Layer]) -> Iterator[Input]:
    for layer in layers:
        if layer.type == "Input":
            shapes = [
                checked(shape.integers("dim"), f"the layer {layer.name!r}")
                for shape in layer.fields.message("input_param").messages("shape")
            ]
            if len(shapes) == 1:
                shapes *= len(layer.tops)
            for index, top in enumerate(layer.tops):
                yield Input(top, shapes[index] if index < len(shapes) else None)


def _judges(layer: Layer) -> bool:
    return layer.type in _JUDGES or layer.type.endswith("Loss")


def _deploy(layers: tuple[Layer, ...]) -> tuple[tuple[Layer, ...], tuple[Layer, ...], list[Input]]:
    """Part the layers of a network that feeds itself: those to deploy, those that judge, and the inputs."""
    sources = [layer for layer in layers if layer.type in DATA_TYPES]
    if not sources:
        return layers, (), []
    available = {top for layer in sources for top in layer.tops}
    kept: list[Layer] = []
    judges: list[Layer] = []
    for layer in layers:
        if layer.type in DATA_TYPES:
            continue
        # What reads a loss, a Silence or a Power, can only judge as well.
        if layer.type == "Silence" or _judges(layer) or not available.issuperset(layer.bottoms):
            judges.append(layer)
        else:
            kept.append(layer)
            available.update(layer.tops)
    if not kept:
        return layers, (), []
    # A blob of a data layer that only judges see is a label.
    used = {bottom for layer in kept for bottom in layer.bottoms}
    inputs = [
        Input(top, source_shape(layer, index))
        for layer in sources
        for index, top in enumerate(layer.tops)
        if top in used
    ]
    return (*sources, *kept), tuple(judges), inputs


def source_shape(layer: Layer, index: int) -> Shape:
    """Return what a data layer says of the blob that it produces at ``index``, the sizes of stored images aside."""
    if layer.type == "DummyData":
        return _dummy_shape(layer.fields.message("dummy_data_param"), index)
    name = {
        "AnnotatedData": "data_param",
        "Data": "data_param",
        "HDF5Data": "hdf5_data_param",
        "ImageData": "image_data_param",
        "MemoryData": "memory_data_param",
        "WindowData": "window_data_param",
    }.get(layer.type)
    if name is None or layer.type == "HDF5Data":
        return None
    fields, transform = layer.fields.message(name), layer.fields.message("transform_param")
    batch = fields.integer("batch_size", UNKNOWN)
    owner = f"the layer {layer.name!r}"
    if index:
        return None if layer.type == "AnnotatedData" else checked((batch,), owner)
    crop = transform.integer("crop_size") or fields.integer("crop_size")
    resize = transform.message("resize_param")
    height = crop or fields.integer("height") or fields.integer("new_height") or resize.integer("height") or UNKNOWN
    width = crop or fields.integer("width") or fields.integer("new_width") or resize.integer("width") or UNKNOWN
    return checked((batch, _channels(layer.type, fields, transform), height, width), owner)


def _channels(kind: str, fields: Fields, transform: Fields) -> int:
    if kind == "MemoryData":
        return fields.integer("channels", UNKNOWN)
    if transform.flag("force_gray"):
        return 1
    colour = kind == "WindowData" or (kind == "ImageData" and fields.flag("is_color", default=True))
    if colour or transform.flag("force_color"):
        return 3
    return 1 if kind == "ImageData" else UNKNOWN


def _dummy_shape(fields: Fields, index: int) -> Shape:
    shapes = fields.messages("shape")
    if shapes:
        return checked(shapes[min(index, len(shapes) - 1)].integers("dim"), "a DummyData layer")
    columns: list[Sequence[Value]] = [fields.values(name) for name in ("num", "channels", "height", "width")]
    if not all(columns):
        return None
    legacy = [fields.integers(name) for name in ("num", "channels", "height", "width")]
    return checked((column[min(index, len(column) - 1)] for column in legacy), "a DummyData layer")


def _unconsumed(layers: Sequence[Layer], inputs: set[str]) -> tuple[str, ...]:
    """Return the blobs that nothing consumes, in the order in which they are written, inputs aside."""
    written = dict.fromkeys(inputs)
    remaining: dict[str, None] = {}
    for layer in layers:
        for bottom in layer.bottoms:
            if bottom not in written:
                raise MalformedModelError(
                    f"the layer {layer.name!r} reads the blob {bottom!r}, which no layer before it writes"
                )
            remaining.pop(bottom, None)
        source = layer.type == "Input" or layer.type in DATA_TYPES
        in_place = set(layer.bottoms)
        for top in layer.tops:
            if top in written and top not in in_place and not (source and top in inputs):
                raise MalformedModelError(
                    f"the layer {layer.name!r} writes the blob {top!r}, which another layer writes already"
                )
            written[top] = None
            if not source:
                remaining[top] = None
    return tuple(remaining)
