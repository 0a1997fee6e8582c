"""A graph under construction: values by their names, nodes in the order in which they compute.

The methods beyond `GraphBuilder.add` hide what changed between the operator sets 13 and 21. Source: the operators'
changelog, https://onnx.ai/onnx/operators/. What does not belong here: any other framework's idea of an operator.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, helper

from klever.steps.writers.onnx.weight import Weight

#: numpy names to element types; ``object`` is text.
ELEMENT_TYPES: Final[Mapping[str, int]] = {
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "bool": TensorProto.BOOL,
    "object": TensorProto.STRING,
}

#: A shape to declare: a size, -1 for a dynamic one without a name, or the name of a dynamic one.
Shape = Sequence[int | str]
#: The name of a value; ``""`` for an input that is absent.
Operand = str


class Declared(NamedTuple):
    """An input or output as it was declared; None where shape inference has to tell."""

    name: str
    dtype: str | None
    shape: tuple[int | str, ...] | None


class GraphBuilder:
    """A graph of one operator set. Every method that adds a node returns the names of its results."""

    def __init__(self, name: str, opset: int = 17) -> None:
        self.name = name
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self.inputs: list[Declared] = []
        self.outputs: list[Declared] = []
        self.weights: dict[str, Weight] = {}
        self.domains: set[str] = set()
        self._taken: set[str] = set()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._node_names: dict[str, int] = {}
        self._root: GraphBuilder = self

    def child(self, name: str) -> Self:
        """Start the body of a loop or branch: it sees the values of this graph, and shares its names and constants."""
        child = type(self)(name, self.opset)
        child._root = self._root
        child._taken = self._taken
        child.domains = self.domains
        return child

    def unique(self, name: str) -> str:
        """Return ``name``, or it with a number behind it where it is taken; it is taken from now on."""
        chosen, count = name, 0
        while chosen in self._taken:
            count += 1
            chosen = f"{name}_{count}"
        self._taken.add(chosen)
        return chosen

    def reserve(self, name: str) -> None:
        """Keep a name for a value that comes later; `add` may use it once by naming it in ``reserved``."""
        self._taken.add(name)

    def input(self, name: str, dtype: str, shape: Shape | None) -> str:
        """Declare an input; the sizes of -1 become dimensions with names of their own."""
        name = self.unique(name)
        named = None if shape is None else _symbols(name, shape)
        self.inputs.append(Declared(name, dtype, named))
        return name

    def output(self, name: str, dtype: str | None = None, shape: Shape | None = None) -> None:
        """Declare a value that exists as an output; what is None or -1 is told by shape inference."""
        self.outputs.append(Declared(name, dtype, None if shape is None else tuple(shape)))

    def weight(self, name: str, weight: Weight) -> str:
        """Add an initializer; the body of a loop adds it to the outermost graph."""
        name = self.unique(name)
        self._root.weights[name] = weight
        return name

    def computed(self, name: str, function: Callable[[], NDArray[Any]], dtype: str, shape: tuple[int, ...]) -> str:
        """Add an initializer that ``function`` computes when the model is written."""
        return self.weight(name, Weight.made(function, dtype, shape))

    def constant(self, value: ArrayLike, name: str | None = None, dtype: str | None = None) -> str:
        """Add a small initializer. Python's integers are int64 and its floats float32; equal unnamed ones are one."""
        with np.errstate(over="ignore"):
            array = np.asarray(value, dtype)
        if dtype is None and not isinstance(value, np.ndarray | np.generic):
            array = array.astype({"f": np.float32, "i": np.int64}.get(array.dtype.kind, array.dtype), copy=False)
        if name is not None:
            return self.weight(name, Weight.of(array))
        key = (array.dtype.name, array.shape, array.tobytes())
        constants = self._root._constants
        if key not in constants:
            constants[key] = self.weight("const", Weight.of(array))
        return constants[key]

    @overload
    def add(
        self,
        op: str,
        inputs: Sequence[Operand],
        *,
        outputs: int,
        name: str | None = None,
        domain: str = "",
        reserved: bool = False,
        **attributes: Any,
    ) -> tuple[str, ...]: ...
    @overload
    def add(
        self,
        op: str,
        inputs: Sequence[Operand],
        *,
        outputs: Sequence[str],
        name: str | None = None,
        domain: str = "",
        reserved: bool = False,
        **attributes: Any,
    ) -> Any: ...
    @overload
    def add(
        self,
        op: str,
        inputs: Sequence[Operand],
        *,
        name: str | None = None,
        domain: str = "",
        reserved: bool = False,
        **attributes: Any,
    ) -> str: ...
    def add(
        self,
        op: str,
        inputs: Sequence[Operand],
        *,
        outputs: Sequence[str] | int = 1,
        name: str | None = None,
        domain: str = "",
        reserved: bool = False,
        **attributes: Any,
    ) -> Any:
        """Add a node; return the name of its one output, or the names of several.

        ``outputs`` are names, made unique unless they are ``reserved`` before, ``""`` for one that nobody needs; or a
        number of names to be made from the node's. ``name`` is by default the first output's. An attribute that is
        None is left out; a `child` graph becomes a body.
        """
        if isinstance(outputs, int):
            base = name or op
            names = [self.unique(base if position == 0 else f"{base}_{position}") for position in range(outputs)]
        else:
            names = [output if reserved or not output else self.unique(output) for output in outputs]
        node = NodeProto(op_type=op, input=inputs, output=names, name=self._node_name(name or names[0]), domain=domain)
        node.attribute.extend(_attribute(key, value) for key, value in sorted(attributes.items()) if value is not None)
        self.nodes.append(node)
        if domain:
            self.domains.add(domain)
        return names[0] if len(names) == 1 else tuple(names)

    def _node_name(self, name: str) -> str:
        """Return the name, with a number where it is taken: onnxruntime refuses two nodes of one name."""
        names = self._root._node_names
        count = names.get(name, 0)
        names[name] = count + 1
        return self._node_name(f"{name}_{count}") if count else name

    def identity(self, x: str, output: str, *, reserved: bool = False) -> str:
        """Give a value a second name."""
        return str(self.add("Identity", [x], outputs=[output], reserved=reserved))

    def cast(self, x: str, dtype: str, **names: Any) -> str:
        """Convert the elements to a numpy type."""
        return str(self.add("Cast", [x], to=ELEMENT_TYPES[dtype], **names))

    def shape(self, x: str, **names: Any) -> str:
        """Return the sizes, int64."""
        return str(self.add("Shape", [x], **names))

    def transpose(self, x: str, perm: Sequence[int], **names: Any) -> str:
        """Reorder the dimensions."""
        return str(self.add("Transpose", [x], perm=list(perm), **names))

    def reshape(self, x: str, shape: Sequence[int] | str, *, allowzero: bool = False, **names: Any) -> str:
        """Reshape; 0 keeps a size, -1 is what is left; a str is a value that holds the shape."""
        wanted = shape if isinstance(shape, str) else self.constant(np.array(shape, np.int64))
        if allowzero:
            names["allowzero"] = 1
        return str(self.add("Reshape", [x, wanted], **names))

    def squeeze(self, x: str, axes: Sequence[int] | None = None, **names: Any) -> str:
        """Remove dimensions of size 1."""
        extra = [] if axes is None else [self.constant(np.array(axes, np.int64))]
        return str(self.add("Squeeze", [x, *extra], **names))

    def unsqueeze(self, x: str, axes: Sequence[int], **names: Any) -> str:
        """Insert dimensions of size 1."""
        return str(self.add("Unsqueeze", [x, self.constant(np.array(axes, np.int64))], **names))

    def concat(self, values: Sequence[str], axis: int, **names: Any) -> str:
        """Concatenate."""
        return str(self.add("Concat", values, axis=axis, **names))

    def gather(self, x: str, indices: ArrayLike | str, axis: int = 0, **names: Any) -> str:
        """Take elements by their positions; a str is a value that holds them."""
        wanted = indices if isinstance(indices, str) else self.constant(np.asarray(indices, np.int64))
        return str(self.add("Gather", [x, wanted], axis=axis, **names))

    def reduce(self, op: str, x: str, axes: Sequence[int] | None, *, keepdims: bool = True, **names: Any) -> str:
        """Reduce over ``axes``, all of them where they are None; ``op`` is ``ReduceMean`` and the like."""
        inputs, attribute = [x], None
        if axes is not None:
            # ReduceSum takes them as an input since operator set 13, the others since 18.
            if op == "ReduceSum" or self.opset >= 18:
                inputs.append(self.constant(np.array(axes, np.int64)))
            else:
                attribute = list(axes)
        return str(self.add(op, inputs, axes=attribute, keepdims=int(keepdims), **names))

    def slice(
        self,
        x: str,
        starts: Sequence[int],
        ends: Sequence[int],
        axes: Sequence[int],
        steps: Sequence[int] | None = None,
        **names: Any,
    ) -> str:
        """Cut out ranges, as Python does; the ends of open ranges are any large numbers."""
        parts = [starts, ends, axes] + ([steps] if steps is not None else [])
        return str(self.add("Slice", [x, *(self.constant(np.array(part, np.int64)) for part in parts)], **names))

    def split(self, x: str, sizes: Sequence[int], axis: int, **names: Any) -> tuple[str, ...]:
        """Cut into parts of ``sizes``, which sum up to the whole."""
        names.setdefault("outputs", len(sizes))
        result = self.add("Split", [x, self.constant(np.array(sizes, np.int64))], axis=axis, **names)
        return (result,) if isinstance(result, str) else tuple(result)

    def pad(
        self,
        x: str,
        begins_ends: Sequence[int],
        mode: str = "constant",
        value: float = 0.0,
        *,
        dtype: str = "float32",
        **names: Any,
    ) -> str:
        """Pad by ``(begins..., ends...)`` of all dimensions; ``dtype`` is that of ``x``; ``wrap`` needs opset 19."""
        inputs = [x, self.constant(np.array(begins_ends, np.int64))]
        if mode == "constant" and value:
            inputs.append(self.constant(np.array(value, dtype)))
        return str(self.add("Pad", inputs, mode=mode, **names))

    def clip(self, x: str, low: float | None, high: float | None, *, dtype: str = "float32", **names: Any) -> str:
        """Bound the elements; ``dtype`` is that of ``x``."""
        bounds = ["" if bound is None else self.constant(np.array(bound, dtype)) for bound in (low, high)]
        return str(self.add("Clip", [x, *bounds] if bounds[1] else [x, bounds[0]] if bounds[0] else [x], **names))

    def body(self) -> GraphProto:
        """Return a finished `child` as the value of an attribute."""
        return GraphProto(
            name=self.name,
            node=self.nodes,
            input=[value_info(each) for each in self.inputs],
            output=[value_info(each) for each in self.outputs],
        )


def value_info(declared: Declared) -> ValueInfoProto:
    """Return a declaration in ONNX's own form."""
    if declared.dtype is None:
        return ValueInfoProto(name=declared.name, type=TypeProto())
    shape = None if declared.shape is None else [None if size == -1 else size for size in declared.shape]
    return helper.make_tensor_value_info(declared.name, ELEMENT_TYPES[declared.dtype], shape)


def _symbols(name: str, shape: Shape) -> tuple[int | str, ...]:
    return tuple(f"{name}_{axis}" if size == -1 else size for axis, size in enumerate(shape))


def _attribute(key: str, value: Any) -> AttributeProto:
    if isinstance(value, GraphBuilder):
        value = value.body()
    elif isinstance(value, bool | np.generic):
        value = int(value) if isinstance(value, bool | np.bool_) else value.item()
    elif isinstance(value, np.ndarray):
        value = helper.make_tensor(
            "", helper.np_dtype_to_tensor_dtype(value.dtype), value.shape, value.tobytes(), raw=True
        )
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        value = [each.item() if isinstance(each, np.generic) else each for each in value]
        if not value:
            return AttributeProto(name=key, type=AttributeProto.INTS)
    return helper.make_attribute(key, value)
