"""Operators that reach out of a graph: to files, the network or Python. They are reported, never run.

Every SavedModel writes and reads its own checkpoint by operators too. Those count only where a signature runs them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from klever.steps.frameworks.tensorflow import Function, Node
from klever.steps.model.signature import NamedSignature

#: What an operator does to the world outside.
_DEEDS: Final = {
    **dict.fromkeys(
        (
            "WriteFile",
            "DumpTensor",
            "SaveDataset",
            "SaveDatasetV2",
            "SnapshotDataset",
            "SnapshotDatasetV2",
            "CreateSummaryFileWriter",
            "CreateSummaryDbWriter",
            "DebugIdentity",
            "DebugIdentityV2",
            "DebugIdentityV3",
            "DebugNumericSummary",
            "DebugNumericSummaryV2",
            "CalibrationStatisticsSaver",
            "WriteAudioSummary",
        ),
        "writes files",
    ),
    **dict.fromkeys(
        (
            "ReadFile",
            "MatchingFiles",
            "MatchingFilesDataset",
            "ImmutableConst",
            "WholeFileReader",
            "WholeFileReaderV2",
            "TextLineReader",
            "TextLineReaderV2",
            "TFRecordReader",
            "TFRecordReaderV2",
            "FixedLengthRecordReader",
            "FixedLengthRecordReaderV2",
            "LMDBReader",
            "TextLineDataset",
            "TFRecordDataset",
            "TFRecordDatasetV2",
            "FixedLengthRecordDataset",
            "FixedLengthRecordDatasetV2",
            "LMDBDataset",
            "ExperimentalLMDBDataset",
            "SqlDataset",
            "ExperimentalSqlDataset",
            "CSVDataset",
            "CSVDatasetV2",
            "LoadDataset",
            "LoadAndRemapMatrix",
        ),
        "reads files",
    ),
    **dict.fromkeys(("PyFunc", "PyFuncStateless", "EagerPyFunc"), "calls Python"),
    **dict.fromkeys(
        ("RpcClient", "RpcCall", "RpcServer", "RemoteCall", "DataServiceDataset", "DataServiceDatasetV2"),
        "talks to other machines",
    ),
    "FileSystemSetConfiguration": "configures file systems",
}
#: What a checkpoint is written and read by.
_CHECKPOINT: Final = {
    **dict.fromkeys(("Save", "SaveV2", "SaveSlices", "MergeV2Checkpoints"), "writes files"),
    **dict.fromkeys(("Restore", "RestoreV2", "RestoreSlice"), "reads files"),
}
_MAX_NAMED: Final = 32


def is_relevant(node: Node) -> bool:
    """Tell whether a node reaches out of its graph or calls a function."""
    return node.op in _CHECKPOINT or _deed(node) is not None or next(node.functions(), None) is not None


class Hazard(NamedTuple):
    """A kind of operator that reaches out, and the first place where it stands."""

    operator: str
    #: As it follows the operator: ``writes files``.
    deed: str
    place: str

    def __str__(self) -> str:
        return f"the operator {self.operator} {self.deed} (in {self.place})"


def find_hazards(
    nodes: Sequence[Node], functions: Mapping[str, Function], signatures: Iterable[NamedSignature]
) -> Iterator[Hazard]:
    """Yield each kind of operator that reaches out, up to a number that nobody reads to the end."""
    found: dict[tuple[str, str], str] = {}
    places: list[tuple[str, Iterable[Node]]] = [("the main graph", nodes)]
    places += [(f"function {name}", function.nodes) for name, function in functions.items()]
    for place, members in places:
        for node in members:
            if deed := _deed(node):
                found.setdefault((node.op, deed), place)
    for place, node in _served(nodes, functions, signatures):
        if deed := _CHECKPOINT.get(node.op):
            found.setdefault((node.op, f"{deed} when a signature runs"), place)
    for (operator, deed), place in list(found.items())[:_MAX_NAMED]:
        yield Hazard(operator, deed, place)


def _deed(node: Node) -> str | None:
    if node.op == "PrintV2" and (node.string("output_stream") or "").startswith("file:"):
        return "writes files"
    return _DEEDS.get(node.op)


def _served(
    nodes: Sequence[Node], functions: Mapping[str, Function], signatures: Iterable[NamedSignature]
) -> Iterator[tuple[str, Node]]:
    """Yield the nodes that signatures run: ancestors of their outputs, and all that lies in functions called there."""
    by_name = {node.name: node for node in nodes}
    pending = [
        tensor.tensor_name for signature in signatures for tensor in signature.outputs if tensor.tensor_name is not None
    ]
    seen: set[str] = set()
    called: list[str] = []
    while pending:
        name = pending.pop().removeprefix("^").partition(":")[0]
        if name in seen or name not in by_name:
            continue
        seen.add(name)
        node = by_name[name]
        yield "the main graph", node
        pending += node.inputs
        called += node.functions()
    entered: set[str] = set()
    while called:
        name = called.pop()
        if name in entered or name not in functions:
            continue
        entered.add(name)
        for node in functions[name].nodes:
            yield f"function {name}", node
            called += node.functions()
