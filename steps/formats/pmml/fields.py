"""Fields of PMML and the types that follow where a document leaves them out.

Definitions: DataDictionary, MiningSchema, Targets and Output of https://dmg.org/pmml/v4-4-1/.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from klever.steps.errors import MalformedModelError
from klever.steps.model.signature import Tensor

_CONTINUOUS_TYPES: Final = frozenset({"integer", "float", "double"})
_CATEGORICAL_TYPES: Final = frozenset({"string", "boolean"})

#: Results that are numbers by their meaning, those that are texts, and ranks (Output, "feature").
_DOUBLES: Final = frozenset({
    "probability", "residual", "standardError", "standardDeviation", "affinity", "clusterAffinity",
    "entityAffinity", "confidence", "support", "lift", "leverage", "confidenceIntervalLower",
    "confidenceIntervalUpper",
})  # fmt: skip
_STRINGS: Final = frozenset({
    "predictedDisplayValue", "entityId", "clusterId", "ruleId", "reasonCode", "warning", "antecedent",
    "consequent", "rule", "ruleValue",
})  # fmt: skip


@dataclass
class Field:
    """A DataField, or a DerivedField of the TransformationDictionary."""

    name: str
    data_type: str | None
    op_type: str | None
    display_name: str | None
    values: list[str] = field(default_factory=list)
    intervals: list[Mapping[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, attributes: Mapping[str, str]) -> Self:
        """Take the element's attributes."""
        return cls(
            name=_name(attributes, "field"),
            data_type=attributes.get("dataType"),
            op_type=attributes.get("optype"),
            display_name=attributes.get("displayName"),
        )


@dataclass(frozen=True)
class MiningField:
    """A MiningField: how a model uses a field."""

    name: str
    op_type: str | None
    usage: str

    @classmethod
    def of(cls, attributes: Mapping[str, str]) -> Self:
        """Take the element's attributes; the usage is ``active`` by default."""
        return cls(_name(attributes, "MiningField"), attributes.get("optype"), attributes.get("usageType", "active"))

    @property
    def active(self) -> bool:
        """Whether a record has to bring it."""
        return self.usage == "active"

    @property
    def target(self) -> bool:
        """Whether the model predicts it; versions before 4.2 say ``predicted``."""
        return self.usage in ("target", "predicted")


@dataclass(frozen=True)
class OutputField:
    """An OutputField: a result beside the prediction."""

    name: str
    data_type: str | None
    op_type: str | None
    display_name: str | None
    feature: str
    target: str | None

    @classmethod
    def of(cls, attributes: Mapping[str, str]) -> Self:
        """Take the element's attributes."""
        return cls(
            name=_name(attributes, "OutputField"),
            data_type=attributes.get("dataType"),
            op_type=attributes.get("optype"),
            display_name=attributes.get("displayName"),
            feature=attributes.get("feature", "predictedValue"),
            target=attributes.get("targetField"),
        )


def _name(attributes: Mapping[str, str], element: str) -> str:
    """Return the name, which the schema requires."""
    name = attributes.get("name")
    if not name:
        raise MalformedModelError(f"a {element} of the PMML has no name")
    return name


def input_tensor(mining: MiningField, declared: Field | None) -> Tensor:
    """Describe an active field; its own ``optype`` overrides the dictionary's (MiningSchema)."""
    return _tensor(mining.name, declared, mining.op_type)


def target_tensor(mining: MiningField, declared: Field | None, op_type: str | None) -> Tensor:
    """Describe a target field; the ``optype`` of its Target overrides the others (Targets)."""
    return _tensor(mining.name, declared, op_type or mining.op_type)


def _tensor(name: str, declared: Field | None, op_type: str | None) -> Tensor:
    if declared is None:
        return Tensor(name=name, op_type=op_type)
    values = declared.values or [_interval(interval) for interval in declared.intervals]
    return Tensor(
        name=name,
        description=declared.display_name,
        dtype=declared.data_type,
        op_type=op_type or declared.op_type or _op_type(declared.data_type),
        values=tuple(values) or None,
    )


def output_tensor(output: OutputField, target: Tensor | None, fields: Mapping[str, Field]) -> Tensor:
    """Describe an output field.

    Where ``dataType`` is absent, as versions before 4.3 allow, it follows from the feature: a predicted
    value has its target's. A transformed value's would follow from its expression, and stays unknown.
    """
    data_type, op_type = output.data_type, output.op_type
    if output.feature == "predictedValue":
        if target is None and output.target in fields:
            named = fields[output.target or ""]
            target = _tensor(named.name, named, None)
        if target is not None:
            data_type = data_type or target.dtype
            op_type = op_type or (target.op_type if data_type == target.dtype else None)
    elif data_type is None:
        if output.feature in _DOUBLES:
            data_type = "double"
        elif output.feature in _STRINGS:
            data_type = "string"
        elif output.feature == "rank":
            data_type = "integer"
    return Tensor(
        name=output.name,
        description=output.display_name,
        dtype=data_type,
        op_type=op_type or _op_type(data_type),
    )


def _op_type(data_type: str | None) -> str | None:
    """Return the usual operational type; dates and times are ordered (DataDictionary)."""
    if data_type is None:
        return None
    if data_type in _CONTINUOUS_TYPES:
        return "continuous"
    return "categorical" if data_type in _CATEGORICAL_TYPES else "ordinal"


def _interval(attributes: Mapping[str, str]) -> str:
    """Spell an interval as Openscoring's API does: ``[4.3, 7.9]``, ``(-∞, 5)``."""
    left, right = attributes.get("leftMargin"), attributes.get("rightMargin")
    closure = attributes.get("closure", "openOpen")
    opening = "[" if closure.startswith("closed") and left is not None else "("
    closing = "]" if closure.endswith("Closed") and right is not None else ")"
    return f"{opening}{'-∞' if left is None else left}, {'∞' if right is None else right}{closing}"
