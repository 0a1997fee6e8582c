"""A model without its weights: what shape inference and the checker judge, and what is written before the weights.

Large weights stand in it as typed inputs, so that every rule of the standard is checked at the cost of the graph alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from klever.steps.errors import ConversionError
from klever.steps.writers.onnx.graph import ELEMENT_TYPES, GraphBuilder, value_info
from klever.steps.writers.onnx.weight import Weight

PRODUCER: Final = "klever"
#: Up to this size an initializer may hold a shape or an axis, which inference has to see.
SMALL_BYTES: Final = 1024
#: The operator set of ai.onnx.ml that each release of ONNX brought along.
_ML_OPSET: Final = 3
#: What inference begins each of its findings with.
_PLACE: Final = "(op_type:"
#: Operators through which inference follows the elements of flat tensors, which may be shapes.
_FOLLOWED: Final = frozenset({"Add", "Cast", "Concat", "Gather", "Mul", "Slice", "Squeeze", "Sub", "Unsqueeze"})
#: It takes some 140 bytes for each of them; shapes have a dozen.
_MAX_FOLLOWED: Final = 1 << 20


def live_nodes(graph: GraphBuilder) -> list[NodeProto]:
    """Return the nodes that an output depends on, in their order."""
    wanted = {output.name for output in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if any(name in wanted for name in node.output):
            kept.append(node)
            wanted.update(names_read(node))
    return kept[::-1]


def names_read(node: NodeProto) -> Iterator[str]:
    """Yield the values that a node reads, those that the bodies in it take from outside included."""
    yield from node.input
    for attribute in node.attribute:
        bodies: Iterable[GraphProto] = [attribute.g] if attribute.HasField("g") else attribute.graphs
        for body in bodies:
            for inner in body.node:
                yield from names_read(inner)
            yield from (output.name for output in body.output)


def build_skeleton(graph: GraphBuilder, weights: Mapping[str, Weight]) -> ModelProto:
    """Return the model with ``weights`` as inputs where they are large; shapes are not inferred yet."""
    proto = GraphProto(
        name=graph.name,
        node=live_nodes(graph),
        input=[value_info(each) for each in graph.inputs],
        output=[value_info(each) for each in graph.outputs],
    )
    for name, weight in weights.items():
        if weight.nbytes <= SMALL_BYTES:
            proto.initializer.append(header(name, weight, raw=b"".join(bytes(chunk) for chunk in weight.chunks())))
        else:
            proto.input.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[weight.dtype], weight.shape))
    imports = [helper.make_opsetid("", graph.opset)]
    imports += [
        helper.make_opsetid(domain, _ML_OPSET if domain == "ai.onnx.ml" else 1) for domain in sorted(graph.domains)
    ]
    model = helper.make_model(proto, opset_imports=imports, producer_name=PRODUCER)
    model.ir_version = helper.find_min_ir_version_for(imports, ignore_unknown=True)
    return model


def header(name: str, weight: Weight, *, raw: bytes | None = None) -> TensorProto:
    """Return an initializer, with its values where ``raw`` are given."""
    tensor = TensorProto(name=name, dims=weight.shape, data_type=ELEMENT_TYPES[weight.dtype])
    if raw is not None:
        tensor.raw_data = raw
    return tensor


def infer(model: ModelProto) -> ModelProto:
    """Check a skeleton by ONNX's own checker and strict shape inference, and return it with every shape.

    Outputs whose type or shape was left open get the inferred one. Raises `ConversionError`.
    """
    untyped = [output for output in model.graph.output if not output.type.WhichOneof("value")]
    declared = {output.name: output.type.SerializeToString() for output in model.graph.output}
    for output in untyped:
        model.graph.output.remove(output)
    order = list(declared)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        if _count_followed(inferred.graph) <= _MAX_FOLLOWED:
            inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        _restore(inferred.graph, order)
        onnx.checker.check_model(inferred)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise ConversionError(
            f"the result is no valid ONNX model: {_first_sentence(error)}",
            stage="write",
            next_step="check the shapes that were asked for, or report the model's operators and this message",
        ) from error
    return inferred


def _count_followed(graph: GraphProto) -> int:
    """Return how many elements inference would follow, of sizes that it knows."""
    sizes = {
        value.name: value.type.tensor_type.shape.dim[0].dim_value
        for value in (*graph.input, *graph.output, *graph.value_info)
        if len(value.type.tensor_type.shape.dim) == 1
    }
    followed = {name for node in graph.node if node.op_type in _FOLLOWED for name in (*node.input, *node.output)}
    bodies = (
        body
        for node in graph.node
        for attribute in node.attribute
        for body in ([attribute.g] if attribute.HasField("g") else attribute.graphs)
    )
    own: int = sum(sizes.get(name, 0) for name in followed)
    return own + sum(map(_count_followed, bodies))


def _restore(graph: GraphProto, order: list[str]) -> None:
    """Put the outputs back in their order; those whose type was left open are among the inferred values."""
    known: dict[str, ValueInfoProto] = {value.name: value for value in (*graph.value_info, *graph.input)}
    present = {output.name: output for output in graph.output}
    missing = [name for name in order if name not in present and name not in known]
    if missing:
        raise ConversionError(f"the type of output {missing[0]!r} cannot be inferred", stage="write")
    outputs = [ValueInfoProto.FromString((present.get(name) or known[name]).SerializeToString()) for name in order]
    kept = [value for value in graph.value_info if value.name not in order]
    del graph.output[:]
    graph.output.extend(outputs)
    if len(kept) < len(graph.value_info):
        kept = [ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
        del graph.value_info[:]
        graph.value_info.extend(kept)


def _first_sentence(error: Exception) -> str:
    """Return what was found first; what follows from it is no help."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first, mark, rest = " ".join(lines).partition(_PLACE)
    return (first + mark + rest.partition(_PLACE)[0]).strip()[:500]
