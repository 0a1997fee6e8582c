"""Write a graph of TensorFlow as ONNX with tf2onnx: a SavedModel's signature, a frozen graph, or a Keras model.

    {"source": "savedmodel", "path": "saved_model.pb", "tags": [...], ...} or
    {"source": "graphdef", "path": ..., ...} or
    {"source": "keras", "model": the request of export_keras, ...}, each with
    {"inputs": {name: {"tensor": "x:0", "shape": [...] or None}}, "outputs": {name: {"tensor": "y:0"}},
     "opset": 17, "output": "model.onnx"}

The graph is frozen, cut to the outputs and given placeholders of its own for the inputs, so names, types and shapes are
those of the request. Runs in the environment ``convert-tensorflow``. What does not belong here: which operators there
are a conversion for, which is told before this is started.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

# Both have to be said before the import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import tensorflow as tf
from savedmodels import directory_of

Progress = Callable[[float, str], None]
#: A frozen graph, its lookup tables by shared name, and notes.
Source = tuple[Any, dict[Any, Any], list[str]]

#: A protobuf ends at 2 GB; what the graph itself takes and its copies in between leave less for constants, in bytes.
LARGE_BYTES = 1 << 30
#: The last opset that tf2onnx 1.17 writes.
HIGHEST_OPSET = 18
#: Operators that a later opset, up to 21, changed otherwise than by more types and new attributes (ONNX's changelog).
_CHANGED = {"DFT": 20, "GridSample": 20, "GroupNormalization": 21}
NO_STATE = "the model keeps state between calls, which ONNX does not: each call computes what the first one does"
_INPUT, _OUTPUT = "klever_input_", "klever_output_"


class RefusalError(Exception):
    """The input cannot be converted, for a reason that is one sentence; ``operators`` maps those that lack to nodes."""

    def __init__(self, cause: str, operators: dict[str, list[str]] | None = None) -> None:
        super().__init__(cause)
        self.operators = operators


def run(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Write the ONNX model; see the module."""
    try:
        return _run(request, progress)
    except RefusalError as refusal:
        reply: dict[str, Any] = {"refused": str(refusal)}
        return reply if refusal.operators is None else {**reply, "operators": refusal.operators}


def _run(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    tf.get_logger().setLevel("ERROR")
    progress(0.1, "loading the graph")
    frozen, tables, notes = _SOURCES[request["source"]](request, progress)
    progress(0.4, "cutting the graph to its signature")
    graph, inputs, outputs = _cut(frozen, request)
    progress(0.5, "converting operators")
    model, storage = _convert(graph, inputs, outputs, tables, request)
    progress(0.8, "checking the result")
    _check_operators(model)
    _raise_opset(model, request["opset"])
    _write(model, storage, request["output"])
    return {"notes": notes, "ranges": _ranges(model.graph)}


# Where the graph comes from.


def _from_saved_model(request: dict[str, Any], progress: Progress) -> Source:
    """Load, restore and freeze in a session: it knows tensors by the very names that the signature has."""
    from tf2onnx import tf_loader

    names = [item["tensor"] for item in request["outputs"].values()]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.saved_model.loader.load(session, request["tags"], directory_of(request["path"]))
        progress(0.2, "freezing the variables")
        whole = session.graph.as_graph_def(add_shapes=True)
        for node in whole.node:
            node.device = ""
        kept = _ancestors(whole, [_node(name) for name in names])
        notes = _state_notes(kept)
        _forget_assignments(kept)
        kept = _inlined(kept, names, session.graph)
        _read_variables(kept, session.graph)
        frozen = tf.compat.v1.graph_util.convert_variables_to_constants(session, kept, sorted(map(_node, names)))
        tables = _tables(session, tf_loader.get_hash_table_info(frozen))
    return frozen, tables, notes


def _inlined(graph: Any, outputs: Any, owner: Any) -> Any:
    """Return the graph with the bodies of functions in the place of their calls, loops and conditions apart.

    TensorFlow freezes what functions read through their arguments only in part (ResourceGather is left out).
    """
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
    from tensorflow.python.framework.convert_to_constants import disable_lower_using_switch_merge
    from tensorflow.python.grappler import tf_optimizer

    graph = disable_lower_using_switch_merge(graph)
    for function in graph.library.function:
        # Another implementation, for cuDNN, keeps a function from being inlined.
        function.attr.pop("api_implements", None)
    meta_graph = tf.compat.v1.train.export_meta_graph(graph_def=graph, graph=owner, clear_devices=True)
    fetched = meta_graph_pb2.CollectionDef()
    fetched.node_list.value.extend(outputs)
    meta_graph.collection_def.clear()
    meta_graph.collection_def["train_op"].CopyFrom(fetched)
    config = config_pb2.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    rewriting.min_graph_nodes = -1
    rewriting.optimizers.append("function")
    rewriting.function_optimization = rewriter_config_pb2.RewriterConfig.AGGRESSIVE
    return tf_optimizer.OptimizeGraph(config, meta_graph)


def _read_variables(graph: Any, owner: Any) -> None:
    """Add the reads by which TensorFlow freezes variables where a SavedModel lacks them."""
    with owner.as_default():
        present = {operation.name for operation in owner.get_operations()}
        for node in graph.node:
            name = f"{node.name}/Read/ReadVariableOp"
            if node.op == "VarHandleOp" and name not in present:
                handle = owner.get_tensor_by_name(f"{node.name}:0")
                tf.raw_ops.ReadVariableOp(resource=handle, dtype=node.attr["dtype"].type, name=name)


def _from_graph_def(request: dict[str, Any], _: Progress) -> Source:
    with open(request["path"], "rb") as file:
        graph = tf.compat.v1.GraphDef.FromString(file.read())
    for node in graph.node:
        node.device = ""
    return graph, {}, []


def _from_keras(request: dict[str, Any], progress: Progress) -> Source:
    """Export as a SavedModel, which has the model's tables and state too, and go on from that."""
    import export_keras
    from tensorflow.python.saved_model.loader_impl import parse_saved_model

    wanted = request["model"]
    model = export_keras.load_model(wanted, progress)
    directory = tempfile.mkdtemp(prefix="savedmodel-")
    export_keras.save(model, export_keras.serving_function(model, wanted), directory)
    signature = parse_saved_model(directory).meta_graphs[0].signature_def["serving_default"]
    arguments = export_keras.argument_names(wanted["inputs"])
    request["inputs"] = {
        name: {"tensor": signature.inputs[argument].name}
        for argument, name in zip(arguments, wanted["inputs"], strict=True)
    }
    request["outputs"] = {name: {"tensor": signature.outputs[name].name} for name in wanted["outputs"]}
    source = {**request, "path": os.path.join(directory, "saved_model.pb"), "tags": ["serve"]}
    return _from_saved_model(source, progress)


_SOURCES = {"savedmodel": _from_saved_model, "graphdef": _from_graph_def, "keras": _from_keras}


def _node(tensor: str) -> str:
    return tensor.partition(":")[0]


def _ancestors(graph: Any, outputs: Any) -> Any:
    """Return the part of a graph that outputs need, control dependencies included."""
    nodes = {node.name: node for node in graph.node}
    kept, pending = set(), list(outputs)
    while pending:
        name = pending.pop()
        if name in kept:
            continue
        if name not in nodes:
            raise RefusalError(f"the graph has no node {name}")
        kept.add(name)
        pending += [_node(given).lstrip("^") for given in nodes[name].input]
    result = tf.compat.v1.GraphDef(versions=graph.versions)
    result.node.extend(node for node in graph.node if node.name in kept)
    result.library.gradient.extend(graph.library.gradient)
    functions = {function.signature.name: function for function in graph.library.function}
    called = {name for node in result.node for name in (node.op, *_called(node))}
    entered = set()
    while called:
        name = called.pop()
        if name in functions and name not in entered:
            entered.add(name)
            called |= {other for node in functions[name].node_def for other in (node.op, *_called(node))}
    result.library.function.extend(function for name, function in functions.items() if name in entered)
    return result


# Variables that a signature writes: ONNX has no state, so what is computed is what the first call computes.

_ASSIGNMENTS = ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp")


def _bodies(graph: Any) -> Iterator[Any]:
    yield graph.node
    for function in graph.library.function:
        yield function.node_def


def _writers(graph: Any) -> set[str]:
    """Return the names of functions that write variables, directly or through others."""
    functions = {function.signature.name: function for function in graph.library.function}
    writing: set[str] = set()
    while True:
        more = {
            name
            for name, function in functions.items()
            if name not in writing and any(_writes(node, writing) for node in function.node_def)
        }
        if not more:
            return writing
        writing |= more


def _writes(node: Any, writing: set[str]) -> bool:
    return node.op in _ASSIGNMENTS or any(name in writing for name in _called(node))


def _called(node: Any) -> Iterator[str]:
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        elif value.HasField("list"):
            yield from (item.name for item in value.list.func)


def _state_notes(graph: Any) -> list[str]:
    """Say that state is lost; raise `RefusalError` where a value is read after it was written in the same call."""
    writing = _writers(graph)
    count = sum(node.op in _ASSIGNMENTS for body in _bodies(graph) for node in body)
    if not count:
        return []
    for body in _bodies(graph):
        after = {node.name for node in body if _writes(node, writing)}
        while True:
            more = {
                node.name
                for node in body
                if node.name not in after and any(_node(given).lstrip("^") in after for given in node.input)
            }
            if not more:
                break
            after |= more
        late = [
            node.name
            for node in body
            if node.name in after and (node.op in ("ReadVariableOp", "ResourceGather", "ResourceGatherNd"))
        ]
        if late:
            raise RefusalError(f"the graph reads a variable after it wrote it ({late[0]}), which ONNX cannot do")
    return [NO_STATE]


def _forget_assignments(graph: Any) -> None:
    """Remove the nodes that write variables, which nothing but control dependencies needs."""
    for body in _bodies(graph):
        gone = {node.name for node in body if node.op in _ASSIGNMENTS}
        if not gone:
            continue
        kept = [node for node in body if node.name not in gone]
        for node in kept:
            inputs = [given for given in node.input if given.lstrip("^") not in gone]
            del node.input[:]
            node.input.extend(inputs)
        copied = [type(node).FromString(node.SerializeToString()) for node in kept]
        del body[:]
        body.extend(copied)


def _tables(session: Any, found: Any) -> dict[Any, Any]:
    """Return shared name to keys and values of the lookup tables that the graph initialises."""
    from tensorflow.python.ops import lookup_ops

    tables = {}
    names = {info.shared_name: info for info in found if info.shared_name is not None}
    if names:
        session.run(tf.compat.v1.tables_initializer())
    for name, info in names.items():
        handle = lookup_ops.hash_table_v2(info.key_dtype, info.val_dtype, shared_name=name)
        tables[name] = tuple(session.run(lookup_ops.lookup_table_export_v2(handle, info.key_dtype, info.val_dtype)))
    return tables


# From a frozen graph to ONNX.


def _cut(frozen: Any, request: dict[str, Any]) -> tuple[Any, dict[str, str], dict[str, str]]:
    """Return the graph between placeholders and identities of our own, and their tensors' names.

    Importing anew infers every shape from the inputs' own, so shapes that were inferred before are forgotten.
    """
    for body in _bodies(frozen):
        for node in body:
            node.attr.pop("_output_shapes", None)
            # A class tells which device a node shares with others that may be gone.
            node.attr.pop("_class", None)
    with tf.Graph().as_default() as graph:
        placeholders = {}
        known = {node.name: node for node in frozen.node}
        for index, item in enumerate(request["inputs"].values()):
            tensor = item["tensor"]
            dtype, shape = _declared(known, tensor)
            asked = item.get("shape")
            shape = shape if asked is None else [None if size < 0 else size for size in asked]
            placeholders[tensor] = tf.compat.v1.placeholder(dtype, shape, name=f"{_INPUT}{index}")
        wanted = [item["tensor"] for item in request["outputs"].values()]
        wanted = [tensor if ":" in tensor else f"{tensor}:0" for tensor in wanted]
        used = {tensor: value for tensor, value in placeholders.items() if _node(tensor) in known}
        results = tf.import_graph_def(frozen, input_map=used, return_elements=wanted, name="")
        results = [placeholders.get(tensor, result) for tensor, result in zip(wanted, results, strict=True)]
        for index, result in enumerate(results):
            tf.identity(result, name=f"{_OUTPUT}{index}")
    inputs = {name: f"{_INPUT}{index}:0" for index, name in enumerate(request["inputs"])}
    outputs = {name: f"{_OUTPUT}{index}:0" for index, name in enumerate(request["outputs"])}
    whole = graph.as_graph_def(add_shapes=True)
    kept = _ancestors(whole, [_node(name) for name in outputs.values()])
    for node in kept.node:
        if node.op == "Placeholder" and not node.name.startswith(_INPUT):
            raise RefusalError(f"the outputs depend on the placeholder {node.name}, which is no input of the signature")
    # An input that no output needs is an input all the same.
    present = {node.name for node in kept.node}
    kept.node.extend(node for node in whole.node if node.name.startswith(_INPUT) and node.name not in present)
    return kept, inputs, outputs


def _declared(known: Any, tensor: str) -> Any:
    """Return type and shape of what is fed; a SavedModel may feed any tensor."""
    node = known.get(_node(tensor))
    if node is None:
        raise RefusalError(f"the graph has no node {_node(tensor)}, which the signature feeds")
    for attribute in ("dtype", "T"):
        if attribute in node.attr:
            shape = node.attr["shape"].shape if "shape" in node.attr else None
            is_known = shape is not None and not shape.unknown_rank
            sizes = [None if dim.size < 0 else dim.size for dim in shape.dim] if is_known and shape else None
            return tf.as_dtype(node.attr[attribute].type), sizes
    raise RefusalError(f"the type of {tensor}, which the signature feeds, is not in the graph")


def _convert(graph: Any, inputs: Any, outputs: Any, tables: Any, request: dict[str, Any]) -> tuple[Any, Any]:
    """Return the ONNX model, and what holds the constants of a large one."""
    import numpy as np
    import tf2onnx
    import tf2onnx_operators
    from tf2onnx import optimizer, tf_loader, tf_utils
    from tf2onnx.graph import ExternalTensorStorage

    # tf2onnx 1.17 counts elements by a name that numpy 2 has no more.
    vars(np)["product"] = np.prod
    renamed = {tensor: name for name, tensor in (*inputs.items(), *outputs.items())}
    large = graph.ByteSize() > request.get("large_bytes", LARGE_BYTES)
    constants, storage = None, None
    if large:
        constants, storage = tf_utils.compress_graph_def(graph), ExternalTensorStorage()
    else:
        with tf.Graph().as_default():
            graph = tf_loader.tf_optimize(list(inputs.values()), list(outputs.values()), graph)
    defaults = [node.name for node in graph.node if node.op == "PlaceholderWithDefault"]
    with tf.Graph().as_default() as tf_graph:
        tf.import_graph_def(graph, name="")
        try:
            result = tf2onnx.tfonnx.process_tf_graph(
                tf_graph,
                opset=min(request["opset"], HIGHEST_OPSET),
                input_names=list(inputs.values()),
                output_names=list(outputs.values()),
                tensors_to_rename=renamed,
                initialized_tables=tables,
                const_node_values=constants,
                use_default=defaults,
            )
        except ValueError as error:
            reason = str(error).removeprefix("make_sure failure: ")
            raise RefusalError(f"tf2onnx does not convert the graph: {reason}") from error
    model = optimizer.optimize_graph(result, catch_errors=not large).make_model(
        "converted from TensorFlow", external_tensor_storage=storage
    )
    tf2onnx_operators.fix_transposed_convolutions(model.graph)
    return model, storage


def _check_operators(model: Any) -> None:
    """Refuse what tf2onnx left as it was: operators that no standard domain of ONNX has."""
    import onnx

    versions = {entry.domain: entry.version for entry in model.opset_import}
    foreign: dict[str, list[str]] = {}
    for node in _nodes(model.graph):
        if not onnx.defs.has(node.op_type, versions.get(node.domain, 1), node.domain):
            foreign.setdefault(node.op_type, []).append(node.name)
    if foreign:
        raise RefusalError(f"no conversion to ONNX exists for {', '.join(sorted(foreign))}", foreign)


def _raise_opset(model: Any, opset: int) -> None:
    """Declare a later opset than the one that was written, which changes nothing for most operators."""
    changed = {node.op_type for node in _nodes(model.graph) if _CHANGED.get(node.op_type, opset + 1) <= opset}
    if opset > HIGHEST_OPSET and changed:
        raise RefusalError(f"{', '.join(sorted(changed))} cannot be written for opset {opset}; choose {HIGHEST_OPSET}")
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = opset
    # The version of the format that came with these opsets (onnx/docs/Versioning.md).
    model.ir_version = max(model.ir_version, 9 if opset > 18 else 8, 10 if opset > 20 else 8)


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs] if attribute.type in (5, 10) else ():
                yield from _nodes(inner)


#: Operators that hand on rows' numbers as they are.
_PASSING = ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def _ranges(graph: Any) -> dict[str, list[int]]:
    """Return, for inputs that are rows' numbers of a table of weights, how many rows the smallest such table has."""
    rows = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    origins = {value.name: value.name for value in graph.input}
    ranges: dict[str, list[int]] = {}
    for node in graph.node:
        if node.op_type in _PASSING and node.input[0] in origins:
            origins[node.output[0]] = origins[node.input[0]]
        by_rows = node.op_type == "Gather" and not any(item.name == "axis" and item.i for item in node.attribute)
        if by_rows and node.input[0] in rows and node.input[1] in origins:
            name = origins[node.input[1]]
            ranges[name] = [0, min(rows[node.input[0]], ranges.get(name, [0, rows[node.input[0]]])[1])]
    return ranges


def _forget_shapes(graph: Any) -> None:
    """Name the open sizes of inputs after them, and leave the sizes of results to the inference of shapes."""
    for value in graph.input:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if not dimension.HasField("dim_value") or dimension.dim_value < 0:
                dimension.dim_param = f"{value.name}_{axis}"
    del graph.value_info[:]
    for value in graph.output:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.Clear()


def _name_sizes(graph: Any) -> None:
    """Name the sizes that inference made names for after the output that has them."""
    names: dict[str, str] = {}
    for value in graph.output:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if dimension.dim_param.startswith("unk__"):
                names.setdefault(dimension.dim_param, f"{value.name}_{axis}")
    for value in (*graph.output, *graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in names:
                dimension.dim_param = names[dimension.dim_param]


def _write(model: Any, storage: Any, path: str) -> None:
    """Infer shapes, check, and write; constants that do not fit go to a file beside it."""
    import onnx

    _forget_shapes(model.graph)
    if storage is not None:
        _gather(model, storage, path)
        model = _inferred(onnx, model)
        onnx.save(model, path)
        onnx.checker.check_model(path, full_check=True)
        return
    model = _inferred(onnx, model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _inferred(onnx: Any, model: Any) -> Any:
    """Return the model with every shape that follows from its inputs; raises where one contradicts another."""
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    _name_sizes(model.graph)
    return model


def _gather(model: Any, storage: Any, path: str) -> None:
    """Write the constants of a large model one after another, each at a page, and tell the model where."""
    location = os.path.basename(path) + ".data"
    with open(path + ".data", "wb") as file:
        for tensor in model.graph.initializer:
            if not tensor.external_data:
                continue
            data = storage.name_to_tensor_data[tensor.external_data[0].value]
            file.seek(-file.tell() % 4096, os.SEEK_CUR)
            del tensor.external_data[:]
            for key, value in (("location", location), ("offset", file.tell()), ("length", len(data))):
                entry = tensor.external_data.add()
                entry.key, entry.value = key, str(value)
            file.write(data)
