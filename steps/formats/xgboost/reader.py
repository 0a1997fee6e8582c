"""What a booster takes and gives, from any of XGBoost's encodings.

The JSON and UBJSON models share a schema (https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html).
Its keys are sorted, so the parameters that matter stand behind the trees, at the end of the file.
"""

import base64
import binascii
import re
import struct
from dataclasses import dataclass, field
from typing import Final

from klever.steps.errors import MalformedModelError, ModelError, TruncatedModelError
from klever.steps.files import ModelFiles, Source, opened
from klever.steps.formats.interface import Reading
from klever.steps.formats.xgboost.text import JSONWalker
from klever.steps.formats.xgboost.ubjson import UBJSONWalker
from klever.steps.formats.xgboost.window import Window
from klever.steps.model.signature import Signature, Tensor

#: MLServer's names: its runtime calls the result ``predict``, and the one input may have any name.
INPUT: Final = "input-0"
OUTPUT: Final = "predict"

#: Files from this size on are read from both ends, so that trees are passed over unread.
_LARGE_BYTES: Final = 256 << 10
#: How much of the end is searched for the parameters; they take some hundred bytes.
_TAIL_BYTES: Final = 64 << 10
_FIRST_PARAMETER: Final = b"learner_model_param"

#: ``LearnerModelParam``: base_score, num_feature, num_class, two flags, major and minor version, num_target.
_PARAMETERS: Final = struct.Struct("<fIi2iIII")
_PARAMETERS_BYTES: Final = 136
_HEAD_BYTES: Final = 4096
_COUNT: Final = re.compile(r"[0-9]{1,10}", re.ASCII)


@dataclass
class _Booster:
    """The few values that decide the signature."""

    features: int | None = None
    classes: int = 0
    targets: int = 1
    objective: str | None = None
    kind: str | None = None
    trees: int | None = None
    version: str | None = None
    encoding: str = ""
    names: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)


def read_booster(files: ModelFiles, path: str) -> Reading:
    """Read the signature of a booster.

    One input, float32 of shape ``[-1, features]``, as a DMatrix is made from; one output, float32 of shape
    ``[-1]`` or ``[-1, groups]`` by the objective. ``layers`` maps the booster's kind to its number of trees.
    Raises `MalformedModelError`, `TruncatedModelError` and `LimitExceededError`.
    """
    with opened(files, path) as source:
        head = source.read_at(0, 2)
        if head[:1] == b"{" or head[:1].isspace():
            booster = _read_document(source, json=head[1:2] not in b"iUIlL$#" or head[1:2] == b"")
        else:
            booster = _read_binary(source)
    if booster.features is None:
        raise MalformedModelError("the XGBoost model does not say how many features it takes")
    facts = {
        "objective": booster.objective,
        "booster": booster.kind,
        "version": booster.version,
        "encoding": booster.encoding,
        "featureNames": booster.names,
        "featureTypes": booster.types,
    }
    notes = () if booster.objective else ("the model names no objective, so its output's shape is not known",)
    return Reading(
        signature=Signature(
            inputs=(Tensor(name=INPUT, dtype="float32", shape=(-1, booster.features)),),
            outputs=(Tensor(name=OUTPUT, dtype="float32", shape=_output_shape(booster)),),
            layers={booster.kind: booster.trees or 1} if booster.kind else None,
        ),
        notes=notes,
        facts={name: fact for name, fact in facts.items() if fact},
    )


def _output_shape(booster: _Booster) -> tuple[int, ...] | None:
    """Return the shape of ``predict``: multi:softmax picks a class; every other objective keeps its groups."""
    if booster.objective is None:
        return None
    groups = max(booster.classes, booster.targets)
    return (-1,) if booster.objective == "multi:softmax" or groups <= 1 else (-1, groups)


def _read_document(source: Source, *, json: bool) -> _Booster:
    booster = _Booster(encoding="json" if json else "ubjson")
    window = Window(source)
    walker: JSONWalker | UBJSONWalker = JSONWalker(window) if json else UBJSONWalker(window)
    if source.size >= _LARGE_BYTES:
        _read_head(walker, booster)
        if _read_tail(source, walker, booster):
            return booster
    _read_outer(walker.at(0), booster, opened_object=False)
    return booster


def _read_head(walker: JSONWalker | UBJSONWalker, booster: _Booster) -> None:
    """Read up to the trees: names of features, the booster's kind and its parameters."""
    for key in walker.entries():
        if key != "learner":
            walker.skip()
            continue
        for entry in walker.entries():
            if entry != "gradient_booster":
                _read_entry(walker, entry, booster)
                continue
            _read_trees(walker, booster, until="trees")
            return


def _read_tail(source: Source, walker: JSONWalker | UBJSONWalker, booster: _Booster) -> bool:
    """Read from ``learner_model_param`` to the end; return whether that makes the end of one document."""
    start = max(0, source.size - _TAIL_BYTES)
    found = source.read_at(start, _TAIL_BYTES).rfind(walker.KEY % _FIRST_PARAMETER)
    if found < 0:
        return False
    tail = walker.at(start + found)
    attempt = _Booster()
    try:
        for entry in tail.entries(opened=True):
            _read_entry(tail, entry, attempt)
        _read_outer(tail, attempt, opened_object=True)
    except ModelError:
        return False
    if attempt.features is None or not tail.finished():
        return False
    booster.features, booster.classes, booster.targets = attempt.features, attempt.classes, attempt.targets
    booster.objective, booster.version = attempt.objective or booster.objective, attempt.version or booster.version
    return True


def _read_outer(walker: JSONWalker | UBJSONWalker, booster: _Booster, *, opened_object: bool) -> None:
    for key in walker.entries(opened=opened_object):
        if key == "learner":
            for entry in walker.entries():
                _read_entry(walker, entry, booster)
        elif key == "version":
            version = walker.value()
            if isinstance(version, list):
                booster.version = ".".join(str(part) for part in version[:3])
        else:
            walker.skip()


def _read_entry(walker: JSONWalker | UBJSONWalker, key: str, booster: _Booster) -> None:
    """Take one entry of the learner, or pass over it."""
    if key == "gradient_booster":
        _read_trees(walker, booster, until=None)
    elif key in ("feature_names", "feature_types"):
        names = walker.value()
        texts = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
        if key == "feature_names":
            booster.names = texts
        else:
            booster.types = texts
    elif key == "learner_model_param":
        parameters = walker.value()
        if isinstance(parameters, dict):
            booster.features = _count(parameters.get("num_feature"))
            booster.classes = _count(parameters.get("num_class")) or 0
            booster.targets = _count(parameters.get("num_target")) or 1
    elif key == "objective":
        objective = walker.value()
        name = objective.get("name") if isinstance(objective, dict) else None
        booster.objective = name if isinstance(name, str) else None
    else:
        walker.skip()


def _read_trees(walker: JSONWalker | UBJSONWalker, booster: _Booster, *, until: str | None) -> bool:
    """Read the gradient booster: a tree booster's parameters, dart's within its ``gbtree``, or a linear one.

    Stops before the entry ``until`` and returns True then.
    """
    for key in walker.entries():
        if key == "gbtree":
            if _read_trees(walker, booster, until=until):
                booster.kind = "dart"
                return True
        elif key == "name":
            name = walker.value()
            booster.kind = name if isinstance(name, str) else booster.kind
        elif key == "model":
            for entry in walker.entries():
                if entry == until:
                    return True
                if entry == "gbtree_model_param":
                    parameters = walker.value()
                    booster.kind = "gbtree"
                    booster.trees = _count(parameters.get("num_trees")) if isinstance(parameters, dict) else None
                else:
                    walker.skip()
        else:
            walker.skip()
    return False


def _count(value: object) -> int | None:
    """Return a count, which XGBoost writes as text; None where it is missing."""
    if value is None:
        return None
    if not _COUNT.fullmatch(str(value)):
        raise MalformedModelError(f"the XGBoost model has a count that is no number: {str(value)[:40]!r}")
    return int(str(value))


def _read_binary(source: Source) -> _Booster:
    """Read the encoding of XGBoost before 1.0, which versions up to 3.0 read and write (``src/learner.cc``)."""
    head = source.read_at(0, _HEAD_BYTES)
    if head.startswith(b"bs64\t"):
        head = _decode_base64(head[5:])
    head = head.removeprefix(b"binf")
    if len(head) < _PARAMETERS_BYTES:
        raise TruncatedModelError("the XGBoost model ends within its parameters")
    _, features, classes, _, _, major, minor, targets = _PARAMETERS.unpack_from(head)
    objective, position = _name(head, _PARAMETERS_BYTES, "objective")
    kind, position = _name(head, position, "booster")
    if classes < 0:
        raise MalformedModelError(f"the XGBoost model claims {classes} classes")
    booster = _Booster(
        features=features, classes=classes, objective=objective, kind=kind, encoding="binary",
        targets=max(1, targets) if major else 1, version=f"{major}.{minor}" if major else None,
    )  # fmt: skip
    if kind in ("gbtree", "dart"):
        if len(head) < position + 4:
            raise TruncatedModelError("the XGBoost model ends before its trees")
        (trees,) = struct.unpack_from("<i", head, position)
        booster.trees = max(0, trees)
    return booster


def _decode_base64(text: bytes) -> bytes:
    text = text.split()[0] if text.split() else b""
    try:
        return base64.b64decode(text[: len(text) // 4 * 4], validate=True)
    except binascii.Error as error:
        raise MalformedModelError("the XGBoost model says that it is base64 and is not") from error


def _name(head: bytes, position: int, what: str) -> tuple[str, int]:
    """Read text behind its 64-bit length."""
    start = position + 8
    if len(head) < start:
        raise TruncatedModelError(f"the XGBoost model ends before its {what}")
    (length,) = struct.unpack_from("<Q", head, position)
    if length > 256:
        raise MalformedModelError(f"the XGBoost model has a name of {length} bytes for its {what}")
    if len(head) < start + length:
        raise TruncatedModelError(f"the XGBoost model ends before its {what}")
    data = head[start : start + length]
    if not data.isascii():
        raise MalformedModelError(f"the XGBoost model has no readable name for its {what}")
    return data.decode("ascii"), start + length
