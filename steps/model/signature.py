"""A model's signature, as ``ormbfile.yaml`` and the config blob spell it.

    >>> Tensor(name="x", dtype="float32", shape=(-1, 3)).to_json()
    {'name': 'x', 'dType': 'float32', 'size': [-1, 3]}

Field names in JSON and YAML are those of ORMB; unknown fields of a document are kept as they came.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

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


class NamedSignature(Document):
    """One of several signatures that a SavedModel declares."""

    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    method_name: Text | None = Field(default=None, alias="methodName")
