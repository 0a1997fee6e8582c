"""Write a TorchScript archive as ONNX with torch's exporter of scripts (``torch.onnx.export(dynamo=False)``).

Runs in the environment ``convert-torch``. The exporter of torch.export takes no scripts, so this is the one.
"""

import itertools
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import onnx
import torch
from symbolics import register
from torch.onnx import utils
from torchscript import RefusalError, examples, flatten, load, name_results

#: The highest opset that the exporter knows. Of what it writes nothing means another thing in `_REDECLARED`.
_EXPORTER_OPSET = 20
_REDECLARED = range(_EXPORTER_OPSET + 1, 22)
#: Operators of which opset 21 changed the meaning, and not only the types.
_CHANGED = frozenset({"GroupNormalization"})
#: What hands its first operand's values on unchanged, though in another shape or type.
_PASSING = frozenset({
    "Cast", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip


def run(request: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Export ``path`` to ``output`` with ``opset``.

    ``inputs`` are the arguments of ``forward`` in order, each with ``name``, ``argument`` (its own name), ``dtype`` and
    ``shape``, or with ``given`` false where it is left to its default; ``outputs`` the names of the results. Returns
    ``notes`` and ``ranges``; refuses with ``operators`` where some have no counterpart.
    """
    try:
        return _export(request, progress)
    except RefusalError as refusal:
        return {"refused": str(refusal), "next": "give the inputs' shapes: --shape NAME=1,3,224,224"}


def _export(request: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    progress(0.2, "loading the archive")
    module = load(request["path"])
    given = [one for one in request["inputs"] if one.get("given", True)]
    progress(0.3, "running the model on an example")
    arguments = examples(module, given, request.get("seed", 0))
    with torch.no_grad():
        result = module(*(argument.clone() for argument in arguments))
    leaves = list(flatten(result))
    results = name_results(leaves, request["outputs"])
    if not results:
        raise RefusalError("forward returns no tensor")
    notes = [f"the result {path or 'of forward'} is no tensor and is left out" for path, value in leaves
             if value is not None and not isinstance(value, torch.Tensor)]  # fmt: skip
    flat = _flattened(module, given, leaves, results)
    axes = {
        one["name"]: {axis: f"{one['name']}_{axis}" for axis, size in enumerate(one["shape"]) if size == -1}
        for one in given
    }
    progress(0.4, "exporting")
    register()
    opset = min(request["opset"], _EXPORTER_OPSET)
    try:
        path = _write(flat, arguments, request["output"], opset, [one["name"] for one in given], results, axes)
    except RuntimeError as error:
        if missing := _uncovered(flat, arguments, opset):
            names = ", ".join(sorted(missing))
            return {"refused": f"ONNX export has no counterpart of {names}", "operators": missing}
        raise RefusalError(f"torch's exporter fails: {_first_line(error)}") from error
    progress(0.8, "checking the model")
    model = onnx.load(path, load_external_data=False)
    if flat is not module:
        _strip_prefix(model.graph)
    return {"notes": notes, "ranges": _finish(model, path, request["opset"], given)}


class _Holder(torch.nn.Module):
    """A module around a script, to which a forward of its own is added."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model


def _flattened(
    module: Any, given: list[dict[str, Any]], leaves: list[tuple[str, Any]], results: list[tuple[str, str, Any]]
) -> Any:
    """Return a script whose results are plain tensors, which is all that ONNX has: no dictionaries, nothing optional.

    The module itself where that holds already.
    """
    declared = module.forward.schema
    returns = declared.returns[0].type.annotation_str
    # Tuples the exporter takes apart itself; an argument that is left to its default confuses it.
    is_plain = not any(word in returns for word in ("Dict", "List", "Optional")) and len(leaves) == len(results)
    if is_plain and len(declared.arguments) - 1 == len(given):
        return module
    names = [f"a{position}" for position in range(len(given))]
    header = "".join(f", {name}: Tensor" for name in names)
    call = ", ".join(f"{one['argument']}={name}" for one, name in zip(given, names, strict=True))
    lines = [f"def forward(self{header}):", f"    r = self.model({call})"]
    for position, (_, path, _) in enumerate(results):
        lines.append(f"    t{position} = r{path}")
        if "Optional" in returns:
            lines += [f"    assert t{position} is not None"]
    lines.append(f"    return ({', '.join(f't{position}' for position in range(len(results)))},)\n")
    wrapper = torch.jit.script(_Holder(module))
    wrapper.define("\n".join(lines))
    wrapper.eval()
    graph = wrapper.forward.graph
    torch._C._jit_pass_inline(graph)
    _unpack_literals(graph)
    return wrapper


def _unpack_literals(graph: Any) -> None:
    """Replace ``{"a": x}["a"]`` and ``[x][0]`` by ``x``, where nothing else could have changed the container."""
    for node in list(graph.nodes()):
        if node.kind() != "aten::__getitem__":
            continue
        container, key = node.inputsAt(0).node(), node.inputsAt(1).toIValue()
        reads = [use.user for use in node.inputsAt(0).uses()]
        if any(user.kind() not in ("aten::__getitem__", "prim::Return") for user in reads):
            continue
        if container.kind() == "prim::DictConstruct":
            items = list(container.inputs())
            pairs = {name.toIValue(): value for name, value in zip(items[::2], items[1::2], strict=True)}
            found = pairs.get(key)
        elif container.kind() == "prim::ListConstruct":
            items = list(container.inputs())
            found = items[key] if isinstance(key, int) and key < len(items) else None
        else:
            continue
        if found is not None:
            node.output().replaceAllUsesWith(found)
    torch._C._jit_pass_dce(graph)


def _write(
    module: Any, arguments: tuple[Any, ...], path: str, opset: int, inputs: list[str],
    results: list[tuple[str, str, Any]], axes: dict[str, dict[int, str]],
) -> str:  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, arguments, path, dynamo=False, opset_version=opset, input_names=inputs,
            output_names=[name for name, _, _ in results], dynamic_axes={k: v for k, v in axes.items() if v},
        )  # fmt: skip
    return path


def _uncovered(module: Any, arguments: tuple[Any, ...], opset: int) -> dict[str, list[str]]:
    """Return the operators that the exporter leaves as they are, and the modules that use each.

    Falling through keeps what has no symbolic function, and what has one that refuses these attributes, in the graph.
    """
    from torch.onnx._internal.torchscript_exporter._globals import GLOBALS

    found: dict[str, list[str]] = {}
    before = GLOBALS.export_onnx_opset_version
    try:
        GLOBALS.export_onnx_opset_version = opset
        with warnings.catch_warnings(), utils.exporter_context(module, torch.onnx.TrainingMode.EVAL, False):
            warnings.simplefilter("ignore")
            graph, _, _ = utils._model_to_graph(
                module, arguments, operator_export_type=torch.onnx.OperatorExportTypes.ONNX_FALLTHROUGH
            )
    except Exception:
        return found
    finally:
        GLOBALS.export_onnx_opset_version = before
    for node in _nodes(graph):
        kind = node.kind()
        if not kind.startswith("onnx::") and kind not in ("prim::Constant", "prim::Param", "prim::Return"):
            found.setdefault(kind, []).append(_place(node))
    return found


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _place(node: Any) -> str:
    """Return where a node stands: the path of its module and the name of its first result."""
    scope = "/".join(part.rpartition("::")[2] for part in node.scopeName().split("/") if part.rpartition("::")[2])
    results = [value.debugName() for value in node.outputs()]
    return "/".join(part for part in (scope, results[0] if results else "") if part)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def _strip_prefix(graph: onnx.GraphProto) -> None:
    """Give the weights the names that they have without `_Holder`."""
    prefix = "model."
    taken = {one.name for one in graph.initializer} | {name for node in graph.node for name in node.output}
    renamed = {
        one.name: one.name[len(prefix) :]
        for one in graph.initializer
        if one.name.startswith(prefix) and one.name[len(prefix) :] not in taken
    }
    for one in graph.initializer:
        one.name = renamed.get(one.name, one.name)
    for node in _every_node(graph):
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)


def _finish(model: onnx.ModelProto, path: str, opset: int, given: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Name what the wrapper renamed, raise the opset where that changes nothing, and check; returns the ranges."""
    nodes = list(_every_node(model.graph))
    if opset in _REDECLARED and not any(node.op_type in _CHANGED for node in nodes):
        for entry in model.opset_import:
            if entry.domain in ("", "ai.onnx"):
                entry.version = opset
    declared = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if declared != opset:
        raise RefusalError(f"torch's exporter knows no opset {opset} for this model; the highest is {_EXPORTER_OPSET}")
    if any(one.data_location == onnx.TensorProto.EXTERNAL for one in model.graph.initializer):
        _gather(model, path)
    else:
        onnx.save(model, path)
    onnx.checker.check_model(path, full_check=True)
    return _ranges(model.graph, [one["name"] for one in given])


def _gather(model: onnx.ModelProto, path: str) -> None:
    """Put the weights into one file beside the model: the exporter writes one for each above 2 GB."""
    folder = os.path.dirname(path)
    before, mode = set(os.listdir(folder)), os.stat(path).st_mode
    onnx.external_data_helper.load_external_data_for_model(model, folder)
    os.remove(path)
    onnx.save(model, path, save_as_external_data=True, location=os.path.basename(path) + ".data")
    os.chmod(path + ".data", mode)
    for name in before - {os.path.basename(path), os.path.basename(path) + ".data"}:
        os.remove(os.path.join(folder, name))


def _every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in itertools.chain([attribute.g] if attribute.HasField("g") else [], attribute.graphs):
                yield from _every_node(inner)


def _ranges(graph: onnx.GraphProto, inputs: list[str]) -> dict[str, list[int]]:
    """Return, for inputs that pick rows of tables, how many rows the smallest of these has."""
    rows = {one.name: one.dims[0] for one in graph.initializer if one.dims}
    origins = {name: name for name in inputs}
    ranges: dict[str, list[int]] = {}
    for node in graph.node:
        first = node.input[0] if node.input else ""
        # A Gather of the input itself picks columns, each of which picks rows in turn.
        if node.op_type in _PASSING and first in origins:
            origins.update(dict.fromkeys(node.output, origins[first]))
        if node.op_type == "Gather" and first in rows and node.input[1] in origins:
            name = origins[node.input[1]]
            ranges[name] = [0, min(rows[first], ranges.get(name, [0, rows[first]])[1])]
    return ranges
