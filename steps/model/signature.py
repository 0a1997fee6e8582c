"""A model's signature, as ``ormbfile.yaml`` and the config blob spell it.

    >>> Tensor(name="x", dtype="float32", shape=(-1, 3)).to_json()
    {'name': 'x', 'dType': 'float32', 'size': [-1, 3]}

Field names in JSON and YAML are those of ORMB; unknown fields of a document are kept as they came.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from klever.steps.errors import MetadataError
from klever.steps.model.strict import parse_json

#: Values in a list of tensors that is given as an argument: a thousand tensors have a tenth.
_MAX_NODES: Final = 100_000
_FORM: Final = 'write a JSON list such as [{"name": "x", "size": [-1, 3], "dType": "float32"}]'

#: Text, where YAML authors write a bare number and mean its digits (``name: 1``).
Text = Annotated[
    str, StringConstraints(strict=False), BeforeValidator(lambda v: str(v) if type(v) in (int, float) else v)
]

#: A dimension in elements; -1 where it is dynamic.
Dimension = Annotated[int, Field(ge=-1)]


class Document(BaseModel):
    """A part of a document that other tools read and write too: unknown fields survive, null equals absence."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True, defer_build=True)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values under the document's own names, without absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Tensor(Document):
    """One input or output.

    ``dtype`` is a numpy name (``float32``, ``int64``, ``bool``, ``object`` for strings; in PMML the PMML data
    type), None where the file does not tell. ``shape`` counts elements per dimension, -1 for a dynamic one; ``()``
    is a scalar and None an unknown rank. ``op_type`` and ``values`` occur in PMML only, ``tensor_name`` (the graph
    tensor behind a signature key) in SavedModel only.
    """

    name: Text
    description: Text | None = None
    dtype: Text | None = Field(default=None, alias="dType")
    shape: tuple[Dimension, ...] | None = Field(default=None, alias="size")
    op_type: Text | None = Field(default=None, alias="opType")
    values: tuple[Any, ...] | None = None
    tensor_name: Text | None = Field(default=None, alias="tensorName")

    @model_validator(mode="before")
    @classmethod
    def _accept_old_spelling(cls, data: object) -> object:
        """Take ``dtype``, which files of Klever 0.1 wrote, for ``dType``."""
        if isinstance(data, Mapping) and "dtype" in data:
            renamed = {key: value for key, value in data.items() if key != "dtype"}
            if renamed.get("dType") is None:
                renamed["dType"] = data["dtype"]
            return renamed
        return data


class Signature(Document):
    """Inputs and outputs in the order of the file, and how often each operator or layer type occurs."""

    inputs: tuple[Tensor, ...] | None = None
    outputs: tuple[Tensor, ...] | None = None
    layers: dict[str, int] | None = None


def parse_tensors(text: str, what: str) -> tuple[Tensor, ...]:
    """Parse a JSON list of tensors as ``ormbfile.yaml`` spells them; raises `MetadataError` that begins with ``what``.

    >>> parse_tensors('[{"name": "x", "dType": "float32", "size": [-1, 3]}]', "inputs")
    (Tensor(name='x', description=None, dtype='float32', shape=(-1, 3), op_type=None, values=None, tensor_name=None),)
    """
    try:
        document = parse_json(text.encode(), max_nodes=_MAX_NODES)
    except ValueError as error:
        raise MetadataError(f"{what}: the value {error}", next_step=_FORM) from None
    if not isinstance(document, list):
        raise MetadataError(f"{what}: got no list", next_step=_FORM)
    try:
        tensors = TypeAdapter(tuple[Tensor, ...]).validate_python(document)
    except ValidationError as error:
        raise MetadataError(f"{what}: {first_fault(error)}", next_step=_FORM) from None
    names = [tensor.name for tensor in tensors]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise MetadataError(f"{what}: {repeated[:60]!r} is there twice", next_step="give each tensor one name")
    return tensors


def first_fault(error: ValidationError) -> str:
    """Return the first fault of a document in one sentence."""
    fault = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"field {where}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {str(fault['input'])[:60]!r}"


class NamedSignature(Document):
    """One of several signatures that a SavedModel declares."""

    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    method_name: Text | None = Field(default=None, alias="methodName")
