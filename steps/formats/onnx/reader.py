"""The signature of a ModelProto, without its weights.

Field numbers are those of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3). ``layers`` counts
the operator types of the main graph as it stands: the bodies of control flow and of local functions are not
counted. What does not belong here: where external data may lie, which `external` decides.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from klever.steps.encodings.protobuf import Message, fields, signed, text
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.files import ModelFiles, opened
from klever.steps.formats.interface import Reading
from klever.steps.formats.onnx.external import ExternalData
from klever.steps.formats.onnx.types import Type, read_type
from klever.steps.model.signature import Signature, Tensor

#: Graphs within graphs; a decoder of ten control flow operators a layer stays far below.
MAX_GRAPHS: Final = 100_000
#: Entries of metadata that are kept, and the longest of them in characters.
_METADATA_ENTRIES, _METADATA_CHARACTERS = 64, 1024

#: Domains whose operators every runtime knows.
_STANDARD_DOMAINS: Final = frozenset({"ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training"})

Part = bytes | Message


@dataclass
class _Value:
    """A ValueInfoProto."""

    name: str
    type: Type | None = None
    description: str | None = None


@dataclass
class _Graph:
    """What a GraphProto says besides its weights."""

    name: str = ""
    operators: Counter[str] = field(default_factory=Counter)
    domains: set[str] = field(default_factory=set)
    initializers: set[str] = field(default_factory=set)
    inputs: list[_Value] = field(default_factory=list)
    outputs: list[_Value] = field(default_factory=list)
    values: dict[str, _Value] = field(default_factory=dict)


class _Walk:
    """One pass over a file, front to back: what it finds, and the graphs inside graphs that are still to see."""

    def __init__(self, external: ExternalData) -> None:
        self.external = external
        self.graphs = 0
        self._pending: list[Part] = []

    def read_graph(self, part: Part) -> _Graph:
        """Read a GraphProto; graphs nested in it are looked through for external data only."""
        graph = self._read_one(part)
        self.look_through()
        return graph

    def look_through(self) -> None:
        """Look through every nested graph that is pending."""
        while self._pending:
            self._read_one(self._pending.pop())

    def _read_one(self, part: Part) -> _Graph:
        self.graphs += 1
        if self.graphs > MAX_GRAPHS:
            raise LimitExceededError(f"the model nests more than {MAX_GRAPHS} graphs")
        graph = _Graph()
        for number, value in fields(part):
            if isinstance(value, int):
                continue
            if number == 1:
                operator, domain = self.read_node(value)
                graph.operators[operator] += 1
                graph.domains.add(domain)
            elif number == 2:
                graph.name = text(value)
            elif number == 5:
                graph.initializers.add(self._read_tensor(value))
            elif number == 11:
                graph.inputs.append(_read_value(value))
            elif number == 12:
                graph.outputs.append(_read_value(value))
            elif number == 13:
                info = _read_value(value)
                graph.values[info.name] = info
            elif number == 15:
                graph.initializers.add(self._read_sparse(value))
        return graph

    def read_node(self, part: Part) -> tuple[str, str]:
        """Return a NodeProto's operator and domain, and look at its attributes."""
        operator, domain = "", "ai.onnx"
        for number, value in fields(part):
            if isinstance(value, int):
                continue
            if number == 4:
                operator = text(value)
            elif number == 5:
                self._read_attribute(value)
            elif number == 7:
                domain = text(value) or domain
        if not operator:
            raise MalformedModelError("a node of the graph names no operator")
        return operator, domain

    def read_function(self, part: Part) -> str:
        """Return the domain of a FunctionProto, and look at its nodes."""
        domain = ""
        for number, value in fields(part):
            if isinstance(value, int):
                continue
            if number == 7:
                self.read_node(value)
            elif number == 10:
                domain = text(value)
        return domain

    def read_training(self, part: Part) -> None:
        """Look at the two graphs of a TrainingInfoProto."""
        self._pending += [value for number, value in fields(part) if number in (1, 2) and not isinstance(value, int)]
        self.look_through()

    def _read_attribute(self, part: Part) -> None:
        """Look for tensors (5, 10), graphs (6, 11) and sparse tensors (22, 23) in an AttributeProto."""
        for number, value in fields(part):
            if isinstance(value, int):
                continue
            if number in (5, 10):
                self._read_tensor(value)
            elif number in (6, 11):
                self._pending.append(value)
            elif number in (22, 23):
                self._read_sparse(value)

    def _read_tensor(self, part: Part) -> str:
        """Return a TensorProto's name, which stands before or after the content that is skipped."""
        name = ""
        outside = False
        entries: list[Part] = []
        for number, value in fields(part):
            if isinstance(value, int):
                outside = value == 1 if number == 14 else outside
            elif number == 8:
                name = text(value)
            elif number == 13:
                entries.append(value)
        if outside:
            self.external.add(name, entries)
        return name

    def _read_sparse(self, part: Part) -> str:
        """Return the name of a SparseTensorProto, which is that of its values."""
        name = ""
        for number, value in fields(part):
            if number in (1, 2) and not isinstance(value, int):
                found = self._read_tensor(value)
                name = found if number == 1 else name
        return name


def _read_value(part: Part) -> _Value:
    value = _Value("")
    for number, content in fields(part):
        if isinstance(content, int):
            continue
        if number == 1:
            value.name = text(content)
        elif number == 2:
            value.type = read_type(content)
        elif number == 3:
            value.description = text(content, 1 << 20) or None
    return value


def _read_pair(part: Part, first: int = 1, second: int = 2) -> tuple[str, int | str]:
    """Return a StringStringEntryProto, or an OperatorSetIdProto with its number."""
    key = ""
    result: int | str = ""
    for number, value in fields(part):
        if number == first and not isinstance(value, int):
            key = text(value)
        elif number == second:
            result = signed(value) if isinstance(value, int) else text(value, 1 << 24)
    return key, result


class _Model:
    """The fields of a ModelProto as they come by."""

    def __init__(self, walk: _Walk) -> None:
        self.walk = walk
        self.graph: _Graph | None = None
        self.ir_version = 0
        self.model_version = 0
        self.texts: dict[int, str] = {}
        self.opsets: dict[str, int] = {}
        self.metadata: dict[str, str] = {}
        self.function_domains: set[str] = set()

    def take(self, number: int, value: int | Part) -> None:
        """Take one field."""
        if isinstance(value, int):
            if number == 1:
                self.ir_version = signed(value)
            elif number == 5:
                self.model_version = signed(value)
        elif number in (2, 3, 4):
            self.texts[number] = text(value)
        elif number == 7:
            self.graph = self.walk.read_graph(value)
        elif number == 8:
            domain, version = _read_pair(value)
            self.opsets[domain or "ai.onnx"] = version if isinstance(version, int) else 0
        elif number == 14:
            key, content = _read_pair(value)
            if len(self.metadata) < _METADATA_ENTRIES and len(str(content)) <= _METADATA_CHARACTERS:
                self.metadata[key] = str(content)
        elif number == 20:
            self.walk.read_training(value)
        elif number == 25:
            self.function_domains.add(self.walk.read_function(value))
            self.walk.look_through()

    def facts(self, graph: _Graph) -> dict[str, Any]:
        """Return what the file tells beside its signature."""
        producer = " ".join(self.texts[number] for number in (2, 3) if self.texts.get(number))
        facts = {
            "irVersion": self.ir_version,
            "opsets": dict(sorted(self.opsets.items())),
            "producer": producer,
            "domain": self.texts.get(4),
            "modelVersion": self.model_version,
            "graphName": graph.name,
            "metadata": self.metadata,
        }
        return {name: fact for name, fact in facts.items() if fact}


def read_model(files: ModelFiles, path: str) -> Reading:
    """Read the signature of the ModelProto at ``path``.

    Raises `MalformedModelError`, `LimitExceededError`, `UnsafeModelError` for external data outside the model's
    directory, and `MissingFilesError` where such data are not there.
    """
    external = ExternalData(files, path)
    with opened(files, path) as source:
        model = _Model(_Walk(external))
        for number, value in Message.of(source):
            model.take(number, value)
    graph = model.graph
    if graph is None or not model.ir_version:
        raise MalformedModelError(
            f"{path} holds no ONNX model: its {'graph' if graph is None else 'version'} is missing"
        )
    if not graph.outputs:
        raise MalformedModelError(f"the graph in {path} has no outputs")
    external.check()
    notes: list[str] = []
    inputs = [value for value in graph.inputs if value.name not in graph.initializers]
    known = {value.name: value for value in (*inputs, *graph.values.values())}
    signature = Signature(
        inputs=_tensors(inputs, "input", graph.values, notes),
        outputs=_tensors(graph.outputs, "output", known, notes),
        layers=dict(sorted(graph.operators.items())),
    )
    foreign = sorted(graph.domains - _STANDARD_DOMAINS - model.function_domains)
    notes += [f"operators of the domain {domain} need a runtime that knows them" for domain in foreign]
    return Reading(signature, notes=tuple(notes), facts=model.facts(graph))


def _tensors(values: Iterable[_Value], role: str, known: dict[str, _Value], notes: list[str]) -> tuple[Tensor, ...]:
    """Make tensors of graph inputs or outputs; where one lacks a type or shape, ``known`` may tell it."""
    tensors = []
    for value in values:
        if not value.name:
            raise MalformedModelError(f"an {role} of the graph has no name")
        told = known.get(value.name)
        kind = (value.type or Type()).completed(told.type if told else None)
        if kind.kind:
            notes.append(f"{role} {value.name} is {kind.words}")
        elif kind.dtype is None:
            notes.append(f"the file tells no type of {role} {value.name}")
        elif kind.shape is None:
            notes.append(f"the file tells no shape of {role} {value.name}")
        tensors.append(Tensor(name=value.name, dtype=kind.dtype, shape=kind.shape, description=value.description))
    return tuple(tensors)
