"""The fields of a PMML document, from a stream of expat's events.

A signature stands before the body of a model: the schema orders DataDictionary,
TransformationDictionary, model, and in a model MiningSchema, Output, ..., Targets before trees, vectors
or segments. So a large document is left where the body begins, unless the segments themselves may add
results. What does not belong here: defaults of single fields (`fields`).

The definition: https://dmg.org/pmml/v4-4-1/GeneralStructure.html and its siblings of versions 3.0 to 4.4.
"""

from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from klever.steps.errors import (
    LimitExceededError,
    MalformedModelError,
    TruncatedModelError,
    UnsafeModelError,
)
from klever.steps.files import ModelFiles, Source, opened
from klever.steps.formats.interface import Reading
from klever.steps.formats.pmml.fields import (
    Field,
    MiningField,
    OutputField,
    input_tensor,
    output_tensor,
    target_tensor,
)
from klever.steps.model.signature import Signature, Tensor

#: Nested elements; scikit-learn's deepest trees nest some hundred nodes.
MAX_DEPTH: Final = 4096
#: Different element and attribute names, all of which expat keeps; PMML defines some five hundred.
MAX_NAMES: Final = 4096
#: Fields of all dictionaries and schemas; a DNA chip has tens of thousands.
MAX_FIELDS: Final = 50_000
#: Valid values and intervals of all fields.
MAX_VALUES: Final = 300_000
#: One tag or comment, in bytes.
MAX_TOKEN_BYTES: Final = 2 << 20
#: A document up to this size is read to its end, so that damage behind the signature is found as well.
WHOLE_BYTES: Final = 2 << 20
#: How far the segments of a model chain are searched for results of their own.
CHAIN_BYTES: Final = 16 << 20

_CHUNK_BYTES: Final = 64 << 10
_NAMESPACE: Final = "http://www.dmg.org/PMML"
#: Children of the root that are not models.
_PREFACE: Final = frozenset({
    "Header", "MiningBuildTask", "DataDictionary", "TransformationDictionary", "Extension"
})  # fmt: skip
#: Children of a model that stand before its body.
_HEADINGS: Final = frozenset({
    "MiningSchema", "Output", "ModelStats", "ModelExplanation", "Targets", "LocalTransformations", "Extension"
})  # fmt: skip
_PREDICATES: Final = frozenset({
    "SimplePredicate", "CompoundPredicate", "SimpleSetPredicate", "True", "False", "VariableWeight", "Extension"
})  # fmt: skip
#: Where a segment's output fields are results of the whole, as JPMML has it (see MultipleModels).
_CHAINS: Final = frozenset({"modelChain", "multiModelChain", "selectFirst"})

_TRUNCATED: Final = frozenset(
    {
        expat.errors.codes[message]
        for message in (
            expat.errors.XML_ERROR_NO_ELEMENTS,
            expat.errors.XML_ERROR_UNCLOSED_TOKEN,
            expat.errors.XML_ERROR_PARTIAL_CHAR,
            expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
        )
    }
)


@dataclass
class _Model:
    """A model element: the top one, or one in a chain of segments."""

    element: str
    depth: int
    attributes: dict[str, str]
    mining: list[MiningField] = field(default_factory=list)
    outputs: list[OutputField] = field(default_factory=list)
    #: Target field to the ``optype`` that Targets gives it.
    targets: dict[str, str] = field(default_factory=dict)
    #: How the segments within make up its result, where they may add results of their own.
    method: str = ""
    adopted: bool = False
    #: Results of the segment that counts, which come before the model's own.
    nested: list[tuple["_Model", OutputField]] = field(default_factory=list)

    def results(self) -> list[tuple["_Model", OutputField]]:
        return self.nested + [(self, output) for output in self.outputs]

    def adopt(self, segment: "_Model") -> None:
        """Take over a segment's results: those of the first one selected, or of a chain's last link."""
        if self.method != "selectFirst" or not self.adopted:
            self.nested = segment.results()
        self.adopted = True


class _Document:
    """The handlers of expat, and what they have gathered."""

    def __init__(self) -> None:
        self.version: str | None = None
        self.application: str | None = None
        self.fields: dict[str, Field] = {}
        self.model: _Model | None = None
        self.done = False
        self.chain = False
        self._models: list[_Model] = []
        self._path: list[str] = []
        self._names: set[str] = set()
        self._declared = 0
        self._values = 0
        self._field: Field | None = None
        #: The depth of an element whose content is passed over.
        self._skipped: int | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Take a start tag."""
        path = self._path
        if len(path) >= MAX_DEPTH:
            raise LimitExceededError(f"the PMML nests more than {MAX_DEPTH} elements")
        names = self._names
        names.add(name)
        if attributes:
            names.update(attributes)
        if len(names) > MAX_NAMES:
            raise LimitExceededError(f"the PMML uses more than {MAX_NAMES} different names")
        namespace, _, local = name.rpartition(" ")
        if namespace and not namespace.startswith(_NAMESPACE):
            local = ""
        path.append(local)
        if self.done or self._skipped is not None:
            return
        if len(path) == 1:
            if local != "PMML":
                raise MalformedModelError(f"the root element is {name[:100]!r}, expected PMML")
            self.version = attributes.get("version")
        elif local in ("", "Extension"):
            self._skipped = len(path)
        elif self._models and len(path) > self._models[-1].depth:
            self._in_model(local, attributes)
        else:
            self._in_document(local, attributes)

    def end(self, _name: str) -> None:
        """Take an end tag."""
        depth = len(self._path)
        self._path.pop()
        if self._skipped is not None:
            if self._skipped == depth:
                self._skipped = None
        elif self._models and self._models[-1].depth == depth:
            model = self._models.pop()
            if self._models:
                self._models[-1].adopt(model)
            elif model is self.model and _scorable(model):
                self.done = True

    def _in_document(self, local: str, attributes: dict[str, str]) -> None:
        path = self._path
        parent = path[-2]
        if len(path) == 2 and local not in _PREFACE:
            model = _Model(local, 2, attributes)
            # The first model that may be scored is the one that scorers run; otherwise name what there is.
            if self.model is None or _scorable(model):
                self.model = model
            self._models.append(model)
        elif parent == "Header" and local == "Application":
            self.application = " ".join(filter(None, (attributes.get("name"), attributes.get("version"))))
        elif (parent, local) in (
            ("DataDictionary", "DataField"),
            ("TransformationDictionary", "DerivedField"),
        ):
            self._field = Field.of(attributes)
            self.fields.setdefault(self._field.name, self._field)
            self._count(fields=1)
        elif parent == "DataField" and self._field is not None:
            if local == "Value" and attributes.get("property", "valid") == "valid" and "value" in attributes:
                self._field.values.append(attributes["value"])
                self._count(values=1)
            elif local == "Interval":
                self._field.intervals.append(attributes)
                self._count(values=1)

    def _in_model(self, local: str, attributes: dict[str, str]) -> None:
        model = self._models[-1]
        parent = self._path[-2]
        if len(self._path) == model.depth + 1:
            if local == "Segmentation" and attributes.get("multipleModelMethod") in _CHAINS:
                self.chain = True
                model.method = attributes["multipleModelMethod"]
            elif local not in _HEADINGS:
                self._pass_body(model)
            elif local in ("ModelStats", "ModelExplanation", "LocalTransformations"):
                self._skipped = len(self._path)
        elif parent == "MiningSchema" and local == "MiningField":
            model.mining.append(MiningField.of(attributes))
            self._count(fields=1)
        elif parent == "Output" and local == "OutputField":
            model.outputs.append(OutputField.of(attributes))
            self._count(fields=1)
        elif parent == "Targets" and local == "Target":
            if "optype" in attributes:
                model.targets[attributes.get("field", "")] = attributes["optype"]
                self._count(fields=1)
        elif parent == "Segment":
            if local == "False":
                self._skipped = len(self._path) - 1
            elif local not in _PREDICATES:
                self._models.append(_Model(local, len(self._path), attributes))

    def _pass_body(self, model: _Model) -> None:
        """Leave out what follows in this model, or the rest of the document if it is the one to score."""
        if len(self._models) == 1 and model is self.model and _scorable(model):
            self.done = True
        else:
            self._skipped = len(self._path)

    def _count(self, *, fields: int = 0, values: int = 0) -> None:
        self._declared += fields
        self._values += values
        if self._declared > MAX_FIELDS:
            raise LimitExceededError(f"the PMML declares more than {MAX_FIELDS} fields")
        if self._values > MAX_VALUES:
            raise LimitExceededError(f"the PMML declares more than {MAX_VALUES} values of fields")


def read_document(files: ModelFiles, path: str) -> Reading:
    """Read the signature of the first model that may be scored.

    Active mining fields are inputs; target fields and then output fields are outputs, those that the
    document calls not final among them, since JPMML returns them. A field is a single value of a record and
    has no shape. ``layers`` counts the model element alone, as segments and trees are passed over. Raises
    `UnsafeModelError` for a document type declaration and with it every entity, `TruncatedModelError`,
    `MalformedModelError` and `LimitExceededError`.
    """
    document = _Document()
    with opened(files, path) as source:
        complete = _parse(source, document)
    model = document.model
    if model is None:
        raise MalformedModelError("the PMML holds no model element")
    return _build_reading(document, model, complete)


def _scorable(model: _Model) -> bool:
    return model.attributes.get("isScorable") not in ("false", "0")


def _forbid_doctype(*_: object) -> None:
    raise UnsafeModelError("the PMML declares a document type, from which entities could be expanded")


def _parse(source: Source, document: _Document) -> bool:
    """Feed the document; return whether every place that may hold results was read."""
    # No interning: expat's own tables hold each name once already.
    parser = expat.ParserCreate(namespace_separator=" ", intern=None)
    parser.buffer_text = False
    parser.StartDoctypeDeclHandler = _forbid_doctype
    parser.StartElementHandler = document.start
    parser.EndElementHandler = document.end
    offset = 0
    while True:
        chunk = source.read_at(offset, _CHUNK_BYTES)
        offset += len(chunk)
        _feed(parser, chunk)
        if not chunk:
            return True
        if document.done and source.size > WHOLE_BYTES:
            return True
        if document.chain and offset >= CHAIN_BYTES:
            return False
        if offset - parser.CurrentByteIndex > MAX_TOKEN_BYTES:
            raise LimitExceededError(f"a tag or comment in the PMML is longer than {MAX_TOKEN_BYTES >> 20} MiB")


def _feed(parser: expat.XMLParserType, chunk: bytes) -> None:
    try:
        parser.Parse(chunk, not chunk)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        if not chunk and error.code in _TRUNCATED:
            raise TruncatedModelError(f"the PMML ends in line {error.lineno}, before its root element does") from error
        raise MalformedModelError(f"the PMML is not well-formed in line {error.lineno}: {reason}") from error
    except (LookupError, ValueError) as error:
        raise MalformedModelError("the PMML declares an encoding that is not known") from error


def _build_reading(document: _Document, model: _Model, complete: bool) -> Reading:
    fields = document.fields
    inputs: list[Tensor] = []
    targets: list[Tensor] = []
    notes: list[str] = []
    for mining in model.mining:
        if not (mining.active or mining.target):
            continue
        declared = fields.get(mining.name)
        if declared is None:
            notes.append(f"the mining field {mining.name[:100]!r} is not in the data dictionary")
        if mining.active:
            inputs.append(input_tensor(mining, declared))
        else:
            targets.append(target_tensor(mining, declared, model.targets.get(mining.name)))
    outputs = [output_tensor(output, _target_of(owner, output, fields), fields) for owner, output in model.results()]
    if not complete:
        notes.append(f"segments beyond the first {CHAIN_BYTES >> 20} MiB were not searched for results of their own")
    if not _scorable(model):
        notes.append("the document says that its model is not for scoring")
    facts = {
        "version": document.version,
        "application": document.application,
        "function": model.attributes.get("functionName"),
        "algorithm": model.attributes.get("algorithmName"),
        "model": model.attributes.get("modelName"),
    }
    return Reading(
        signature=Signature(inputs=tuple(inputs), outputs=(*targets, *outputs), layers={model.element: 1}),
        notes=tuple(notes),
        facts={name: value for name, value in facts.items() if value},
    )


def _target_of(model: _Model, output: OutputField, fields: dict[str, Field]) -> Tensor | None:
    """Return the target that an output field is about: the one it names, else the model's first."""
    for mining in model.mining:
        if mining.target and output.target in (None, mining.name):
            return target_tensor(mining, fields.get(mining.name), model.targets.get(mining.name))
    return None
