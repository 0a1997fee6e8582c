"""The signature in an ``MLmodel`` file.

The definition: https://mlflow.org/docs/latest/ml/model/ and ``mlflow.types.schema``, whose JSON stands as text inside
the YAML.
"""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from klever.steps.errors import LimitExceededError, MalformedModelError, MetadataError
from klever.steps.files import ModelFiles, opened
from klever.steps.formats.interface import Reading
from klever.steps.formats.mlflow import FILE
from klever.steps.model.document import MAX_BYTES, parse_yaml
from klever.steps.model.signature import Signature, Tensor

#: Columns or tensors of one side; wider tables exist, but not as models.
_MAX_COLUMNS: Final = 20_000
#: Dimensions that nested arrays may add up to; numpy has no more.
_MAX_RANK: Final = 64

#: ``mlflow.types.DataType`` to numpy's names; values without a fixed width are objects.
_DTYPES: Final = MappingProxyType(
    {
        "boolean": "bool",
        "integer": "int32",
        "long": "int64",
        "float": "float32",
        "double": "float64",
        "string": "object",
        "binary": "object",
        "datetime": "datetime64[ns]",
        "object": "object",
        "map": "object",
    }
)
#: numpy's names of text and bytes in a tensor's specification.
_TEXT_DTYPES: Final = re.compile(r"str|bytes|object|[<>|=]?[USO][0-9]*")


def read_document(files: ModelFiles) -> Reading:
    """Read the declared signature.

    A column is a tensor of shape ``[-1]``, an array in it adds a dimension; a tensor keeps its own shape.
    Those without a name get MLServer's: ``input-0``, ``output-0``. Raises `MalformedModelError` and
    `LimitExceededError`.
    """
    document = _load(files)
    flavors = document.get("flavors")
    if not isinstance(flavors, Mapping) or not flavors:
        raise MalformedModelError("the MLmodel file names no flavors")
    declared = document.get("signature")
    if declared is None:
        declared = {}
    if not isinstance(declared, Mapping):
        raise MalformedModelError("the signature in the MLmodel file is not a map")
    signature = Signature(
        inputs=_tensors(declared.get("inputs"), "input"),
        outputs=_tensors(declared.get("outputs"), "output"),
    )
    notes = () if declared else ("the MLmodel file declares no signature; log the model with one",)
    facts = {
        "flavors": sorted(str(flavor) for flavor in flavors),
        "mlflowVersion": document.get("mlflow_version"),
        "params": _schema(declared.get("params"), "params"),
    }
    return Reading(
        signature=signature,
        notes=notes + tuple(_missing(files, flavors)),
        facts={name: fact for name, fact in facts.items() if fact},
    )


def _load(files: ModelFiles) -> Mapping[str, object]:
    with opened(files, FILE) as source:
        data = source.read_at(0, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise LimitExceededError(f"the MLmodel file is larger than {MAX_BYTES >> 20} MiB")
    try:
        document = parse_yaml(data, "the MLmodel file")
    except MetadataError as error:
        raise MalformedModelError(error.cause) from error
    if not isinstance(document, dict):
        raise MalformedModelError("the MLmodel file is not a map")
    return document


def _missing(files: ModelFiles, flavors: Mapping[str, object]) -> list[str]:
    """Name the paths that flavours point to and that are not there."""
    notes = []
    present = set(files.sizes)
    for path in files.sizes:
        folders = path.split("/")[:-1]
        present.update("/".join(folders[:depth]) for depth in range(1, len(folders) + 1))
    for name, flavor in flavors.items():
        for key in ("model_path", "pickled_model", "data", "model_data"):
            target = flavor.get(key) if isinstance(flavor, Mapping) else None
            if isinstance(target, str) and target and target.rstrip("/") not in present:
                notes.append(f"the flavor {name[:100]!r} points to {target[:200]!r}, which is not there")
    return notes


def _schema(value: object, part: str) -> list[Any] | None:
    """Return the list that a part of the signature is, which MLflow writes as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise MalformedModelError(f"the signature's {part} are not JSON") from error
    if value is None:
        return None
    if not isinstance(value, list):
        raise MalformedModelError(f"the signature's {part} are not a list")
    if len(value) > _MAX_COLUMNS:
        raise LimitExceededError(f"the signature lists more than {_MAX_COLUMNS} {part}")
    return value


def _tensors(value: object, part: str) -> tuple[Tensor, ...] | None:
    schema = _schema(value, f"{part}s")
    if schema is None:
        return None
    return tuple(_tensor(spec, f"{part}-{index}") for index, spec in enumerate(schema))


def _tensor(spec: object, default: str) -> Tensor:
    if not isinstance(spec, Mapping):
        raise MalformedModelError(f"the signature's {default} is not a map")
    given = spec.get("name")
    name = default if given is None else str(given)
    if spec.get("type") == "tensor":
        return _numpy_tensor(name, spec.get("tensor-spec"))
    dtype, rank = _column(spec)
    # Versions before 2.6 know no optional columns; a record may leave these out.
    optional = spec.get("required") is False or spec.get("optional") is True
    return Tensor(name=name, dtype=dtype, shape=(-1,) * rank, description="optional" if optional else None)


def _numpy_tensor(name: str, spec: object) -> Tensor:
    """Describe a TensorSpec, the first dimension of which is usually the batch."""
    shape = spec.get("shape") if isinstance(spec, Mapping) else None
    dtype = spec.get("dtype") if isinstance(spec, Mapping) else None
    if not isinstance(shape, list) or not isinstance(dtype, str):
        raise MalformedModelError(f"the tensor {name[:100]!r} has no dtype or no shape")
    if not all(type(size) is int and size >= -1 for size in shape) or len(shape) > _MAX_RANK:
        raise MalformedModelError(f"the tensor {name[:100]!r} has an impossible shape")
    return Tensor(name=name, dtype="object" if _TEXT_DTYPES.fullmatch(dtype) else dtype, shape=tuple(shape))


def _column(spec: Mapping[str, object]) -> tuple[str | None, int]:
    """Return a column's dtype and rank: arrays add dimensions; objects, maps and the ``any`` type do not."""
    rank = 1
    kind: object = spec
    while isinstance(kind, Mapping) and kind.get("type") == "array":
        rank += 1
        if rank > _MAX_RANK:
            raise LimitExceededError(f"a column of the signature nests more than {_MAX_RANK} arrays")
        kind = kind.get("items")
    name = kind.get("type") if isinstance(kind, Mapping) else kind
    if name == "sparkml_vector":
        return "float64", rank + 1
    return _DTYPES.get(name) if isinstance(name, str) else None, rank
