"""GraphDef: a frozen TensorFlow graph in one file, its weights among the nodes.

Recognition alone; `reader` reads the signature. SavedModels, which hold a GraphDef inside, and graphs in text form
do not belong here.
"""

from typing import Final

from klever.steps.encodings.wire import decode_head
from klever.steps.files import ModelFiles
from klever.steps.formats.interface import Claim, Evidence, Format, Reading, outermost, renamed
from klever.steps.model.signature import Signature

EXTENSION: Final = ".graphdef"
#: GraphDef's fields (graph.proto) to their wire types.
_FIELDS: Final = {1: 2, 2: 2, 3: 0, 4: 2, 5: 2}
_NODE: Final = 1
#: NodeDef's fields to their wire types.
_NODE_FIELDS: Final = {1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 2, 7: 2}
#: How a graph begins in protobuf's text form.
_TEXT: Final = (b"node {", b"node{", b"node: {")


def is_text(head: bytes) -> bool:
    """Tell whether a file begins as a GraphDef in text form."""
    return head.lstrip().startswith(_TEXT)


def _is_graph(head: bytes) -> bool:
    """Tell whether a file begins as a GraphDef: with nodes that have a name and an operator."""
    nodes = 0
    for number, kind, value in decode_head(head):
        if _FIELDS.get(number) != kind:
            return False
        if number == _NODE:
            whole = isinstance(value, bytes) and is_node(value)
            # Only the first node has to be whole: the head may end inside any other.
            if not whole and nodes == 0:
                return False
            nodes += 1
    return nodes > 0


def is_node(head: bytes) -> bool:
    """Tell whether bytes begin as a NodeDef: a name, an operator, and no attribute but ``{name, AttrValue}``."""
    seen: set[int] = set()
    for number, kind, value in decode_head(head):
        if _NODE_FIELDS.get(number) != kind or not isinstance(value, bytes):
            return False
        seen.add(number)
        if number in (1, 2) and not value.decode("utf-8", "replace").isprintable():
            return False
        if number == 5 and not all(field in (1, 2) and wire == 2 for field, wire, _ in decode_head(value)):
            return False
    return {1, 2} <= seen


class GraphDef(Format):
    """TensorFlow's frozen graph."""

    id = "GraphDef"
    framework = "TensorFlow"
    needs = "one *.graphdef"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim the files that begin as a GraphDef, else those named ``*.graphdef`` or in text form."""
        models = [path for path in files.sizes if _is_graph(files.head(path))]
        evidence = Evidence.CONTENT if models else Evidence.NAME
        models = models or [
            path
            for path in files.sizes
            if path.lower().endswith(EXTENSION) or (path.endswith(".pbtxt") and is_text(files.head(path)))
        ]
        if not models:
            return None
        models = outermost(models)
        rename = renamed(models[0], EXTENSION, files.sizes) if evidence is Evidence.CONTENT else {}
        return Claim.of_one(evidence, models, rename)

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read the signature; see `reader.read_model`."""
        from klever.steps.formats.graphdef.reader import read_model

        return read_model(files, claim.files[0], author)


FORMAT = GraphDef()
