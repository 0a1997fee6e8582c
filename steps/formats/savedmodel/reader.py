"""The signatures of a SavedModel, from `saved_model.pb` alone.

Field numbers are those of tensorflow/core/protobuf/{saved_model,meta_graph,saver}.proto. ``layers`` counts the
nodes of the MetaGraph's main graph, as the loaded ``graph_def`` shows them; since TensorFlow 2 the network itself
lies in functions that these nodes call, whose operators the fact ``functionOperators`` counts. What does not
belong here: which operators touch files, which `hazards` knows.
"""

import posixpath
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from klever.steps.encodings.protobuf import Message, fields, text
from klever.steps.errors import LimitExceededError, MalformedModelError, MissingFilesError
from klever.steps.files import ModelFiles, opened
from klever.steps.formats.interface import Reading
from klever.steps.formats.savedmodel import NAME, TEXT_NAME
from klever.steps.formats.savedmodel.hazards import find_hazards, is_relevant
from klever.steps.frameworks.tensorflow import Function, Node, Part, dtype_name, read_shape
from klever.steps.model.signature import NamedSignature, Signature, Tensor

DEFAULT: Final = "serving_default"
#: Signatures that run the model's initialisation and training, not its inference.
INTERNAL: Final = frozenset({"__saved_model_init_op", "__saved_model_train_op"})
SERVE: Final = "serve"

#: Operators that hold a variable; their values have to come from a checkpoint.
_VARIABLES: Final = frozenset({"VarHandleOp", "Variable", "VariableV2"})
#: A defence: the largest published models hold half of it, functions included.
MAX_NODES: Final = 300_000


class MetaGraph:
    """One MetaGraphDef."""

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self.tags: list[str] = []
        self.version = ""
        self.nodes: list[Node] = []
        #: Functions, with those of their nodes that call others or reach out of the graph; all nodes if ``whole``.
        self.functions: dict[str, Function] = {}
        #: How often each operator occurs in functions.
        self.operators: Counter[str] = Counter()
        self.signatures: dict[str, NamedSignature] = {}
        self.notes: list[str] = []

    @classmethod
    def read(cls, part: Part, *, whole: bool = False) -> "MetaGraph":
        """Read a MetaGraphDef; of functions it keeps all nodes if ``whole``, else those that may matter to a reader."""
        graph = cls(whole=whole)
        for number, value in fields(part):
            if isinstance(value, int):
                continue
            if number == 1:
                graph._read_info(value)
            elif number == 2:
                graph._read_graph(value)
            elif number == 5:
                name, signature = _read_entry(value)
                graph.signatures[name] = graph._read_signature(name, signature)
        return graph

    def _read_info(self, part: Part) -> None:
        for number, value in fields(part):
            if number == 4 and not isinstance(value, int):
                self.tags.append(text(value))
            elif number == 5 and not isinstance(value, int):
                self.version = text(value)

    def _read_graph(self, part: Part) -> None:
        total = len(self.nodes)
        for number, value in fields(part):
            if number == 1 and not isinstance(value, int):
                self.nodes.append(Node.read(value))
                total += 1
            elif number == 2 and not isinstance(value, int):
                for kind, content in fields(value):
                    if kind == 1 and not isinstance(content, int):
                        function = Function.read(content)
                        total += len(function.nodes) + 1
                        self.operators.update(node.op for node in function.nodes)
                        # Of hundreds of functions only what may matter is kept in memory.
                        kept = tuple(node for node in function.nodes if self._whole or is_relevant(node))
                        self.functions[function.name] = function._replace(nodes=kept)
            if total > MAX_NODES:
                raise LimitExceededError(f"the graph holds more than {MAX_NODES} nodes")

    def _read_signature(self, name: str, part: Part) -> NamedSignature:
        """Read a SignatureDef; its maps have no order, so keys are sorted, as TensorFlow does."""
        inputs: dict[str, Tensor] = {}
        outputs: dict[str, Tensor] = {}
        method = None
        for number, value in fields(part):
            if isinstance(value, int):
                continue
            if number in (1, 2):
                key, info = _read_entry(value)
                role = "input" if number == 1 else "output"
                (inputs if number == 1 else outputs)[key] = self._read_tensor(f"{role} {key} of {name}", key, info)
            elif number == 3:
                method = text(value) or None
        return NamedSignature(
            inputs=tuple(inputs[key] for key in sorted(inputs)),
            outputs=tuple(outputs[key] for key in sorted(outputs)),
            method_name=method,
        )

    def _read_tensor(self, what: str, key: str, part: Part) -> Tensor:
        """Read a TensorInfo. A sparse tensor stands under the name of its values, a composite one under its parts'."""
        name, dtype, shape = "", None, None
        for number, value in fields(part):
            if isinstance(value, int):
                if number == 2:
                    dtype = dtype_name(value)
            elif number == 1:
                name = text(value)
            elif number == 3:
                shape = read_shape(value)
            elif number == 4:
                parts = dict(_texts(value))
                name = parts.get(1, "")
                self.notes.append(
                    f"{what} is a sparse tensor: values {name}, indices {parts.get(2)}, shape {parts.get(3)}"
                )
            elif number == 5:
                parts_of = [
                    next((entry for field, entry in _texts(item) if field == 1), "")
                    for field, item in fields(value)
                    if field == 2 and not isinstance(item, int)
                ]
                name = next(iter(parts_of), "")
                self.notes.append(f"{what} is a composite of the tensors {', '.join(parts_of)}")
        return Tensor(name=key, dtype=dtype, shape=shape, tensor_name=name or None)


def _texts(part: Part) -> Iterator[tuple[int, str]]:
    return ((number, text(value)) for number, value in fields(part) if not isinstance(value, int))


def _read_entry(part: Part) -> tuple[str, Part]:
    """Return key and value of a map's entry."""
    key, content = "", b""
    result: Part = content
    for number, value in fields(part):
        if number == 1 and not isinstance(value, int):
            key = text(value)
        elif number == 2 and not isinstance(value, int):
            result = value
    return key, result


def read_model(files: ModelFiles, path: str) -> Reading:
    """Read the signatures of the SavedModel at ``path``.

    Raises `MalformedModelError`, `LimitExceededError`, and `MissingFilesError` where the graph has variables and
    no checkpoint lies beside it.
    """
    graphs = _read_graphs(files, path)
    graph = _served(graphs)
    notes = _graph_notes(files, path, graphs, graph)
    _check_variables(files, path, graph)
    names = [name for name in sorted(graph.signatures) if name not in INTERNAL]
    chosen = served_signature(graph)
    if chosen is None:
        notes.append("the model declares no signature to be served")
    elif chosen != DEFAULT:
        notes.append(f"there is no signature {DEFAULT}; {chosen} stands in for it")
    served = graph.signatures[chosen] if chosen is not None else NamedSignature()
    notes += graph.notes
    notes += map(str, find_hazards(graph.nodes, graph.functions, graph.signatures.values()))
    signature = Signature(
        inputs=served.inputs,
        outputs=served.outputs,
        layers=dict(sorted(Counter(node.op for node in graph.nodes).items())),
    )
    return Reading(
        signature,
        signatures={name: graph.signatures[name] for name in names},
        notes=tuple(dict.fromkeys(notes)),
        facts=_facts(graph, chosen),
    )


def read_served(files: ModelFiles, path: str) -> MetaGraph:
    """Read the MetaGraph that `read_model` takes, with all nodes of its functions; raises as that."""
    graph = _served(_read_graphs(files, path, whole=True))
    _check_variables(files, path, graph)
    return graph


def served_signature(graph: MetaGraph) -> str | None:
    """Return the name of the signature that stands for the model, None where it declares none."""
    names = [name for name in sorted(graph.signatures) if name not in INTERNAL]
    return DEFAULT if DEFAULT in names else next(iter(names), None)


def _read_graphs(files: ModelFiles, path: str, *, whole: bool = False) -> list[MetaGraph]:
    if posixpath.basename(path) == TEXT_NAME:
        raise MalformedModelError(f"{path} is a SavedModel in text form", next_step=f"save it as {NAME}")
    with opened(files, path) as source:
        graphs = [
            MetaGraph.read(value, whole=whole)
            for number, value in Message.of(source)
            if number == 2 and not isinstance(value, int)
        ]
    if not graphs:
        raise MalformedModelError(f"{path} holds no MetaGraph")
    return graphs


def _served(graphs: list[MetaGraph]) -> MetaGraph:
    return next((graph for graph in graphs if SERVE in graph.tags), graphs[0])


def _graph_notes(files: ModelFiles, path: str, graphs: list[MetaGraph], graph: MetaGraph) -> list[str]:
    """Say which of several versions and MetaGraphs was taken."""
    notes = []
    folder = posixpath.dirname(path)
    others = sorted(
        posixpath.dirname(other)
        for other in files.sizes
        if other != path
        and posixpath.basename(other) == NAME
        and posixpath.dirname(posixpath.dirname(other)) == posixpath.dirname(folder)
        and other.count("/") == path.count("/")
    )
    if folder and others:
        notes.append(f"version {folder} was read, the highest; there are also {', '.join(others)}")
    if len(graphs) > 1:
        tags = "; ".join(", ".join(other.tags) or "none" for other in graphs)
        notes.append(
            f"of {len(graphs)} MetaGraphs (tags: {tags}) the one for {', '.join(graph.tags) or 'no tag'} was read"
        )
    elif SERVE not in graph.tags:
        notes.append(f"the MetaGraph is tagged {', '.join(graph.tags) or 'with nothing'}, not {SERVE}")
    return notes


def _check_variables(files: ModelFiles, path: str, graph: MetaGraph) -> None:
    index = posixpath.join(posixpath.dirname(path), "variables", "variables.index")
    if index not in files.sizes and any(node.op in _VARIABLES for node in graph.nodes):
        raise MissingFilesError(
            f"the graph has variables, and {index} with their values is not there",
            missing=(index,),
            next_step="add the directory variables/ that was saved with the model",
        )


def _facts(graph: MetaGraph, chosen: str | None) -> dict[str, Any]:
    facts = {
        "tags": graph.tags,
        "tensorflowVersion": graph.version,
        "signatureName": chosen,
        "functionOperators": dict(sorted(graph.operators.items())),
    }
    return {name: fact for name, fact in facts.items() if fact}
