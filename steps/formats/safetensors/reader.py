"""The headers of safetensors files: what tensors there are, and what the writer says of itself.

The header's rules are those of the reference implementation (https://github.com/huggingface/safetensors, README and
``safetensors/src/tensor.rs``). Only headers are read. What does not belong here: what the weights are used for.
"""

from collections.abc import Mapping
from math import prod
from typing import Any, Final, NamedTuple

from klever.steps.encodings.json import parse_json
from klever.steps.errors import LimitExceededError, MalformedModelError, ModelError, TruncatedModelError
from klever.steps.files import ModelFiles, Source, opened
from klever.steps.formats.interface import Reading
from klever.steps.formats.safetensors import MAX_HEADER_BYTES
from klever.steps.model.signature import Signature
from klever.steps.model.weights import Tensors, count_modules, describe_tensors, join_shards

_MAX_RANK: Final = 64
_MAX_CONFIG_BYTES: Final = 4 << 20
_METADATA: Final = "__metadata__"

#: Element sizes in bits.
_BITS: Final = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(
        ("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"),
        8,
    ),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
#: What ``__metadata__.format`` says, in the words of ormbfile.yaml.
_FRAMEWORKS: Final = {"pt": "PyTorch", "tf": "TensorFlow", "flax": "Others", "mlx": "Others", "np": "Others"}


class Header(NamedTuple):
    """The tensors of one file, name to type and shape, and its free-form metadata."""

    tensors: Tensors
    metadata: Mapping[str, str]


def read_model(files: ModelFiles, paths: tuple[str, ...], note: str) -> Reading:
    """Read the headers of all shards; ``note`` says why there is no signature. Raises what `read_header` raises."""
    headers = []
    for path in paths:
        with opened(files, path) as source:
            headers.append(read_header(source))
    tensors = join_shards(header.tensors for header in headers)
    metadata = {key: value for header in headers for key, value in header.metadata.items()}
    return Reading(
        signature=Signature(layers=count_modules(tensors)),
        framework=_FRAMEWORKS.get(metadata.get("format", "")),
        notes=(note,),
        facts=_facts(tensors, metadata) | _config(files),
    )


def read_header(source: Source) -> Header:
    """Read and check the header of one file.

    Raises `TruncatedModelError` where the file is shorter than its header says, `LimitExceededError` where the header
    is longer than the reference implementation takes, `MalformedModelError` where it breaks a rule.
    """
    prefix = source.read_at(0, 8)
    if len(prefix) < 8:
        raise TruncatedModelError(f"the file of {source.size} bytes is shorter than a safetensors header")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        raise LimitExceededError(f"the header claims {length} bytes, more than the {MAX_HEADER_BYTES} allowed")
    if length > source.size - 8:
        raise TruncatedModelError(f"the header claims {length} bytes where {source.size - 8} are left")
    document = _parse(source.read_at(8, length))
    metadata = document.pop(_METADATA, None) or {}
    if not isinstance(metadata, dict):
        raise MalformedModelError("the header's __metadata__ is not a JSON object")
    spans = []
    tensors = {}
    for name, entry in document.items():
        dtype, shape, begin, end = _entry(name, entry)
        tensors[name] = (dtype, shape)
        spans.append((begin, end, name))
    _check_spans(spans, source.size - 8 - length)
    return Header(tensors, {key: value for key, value in metadata.items() if isinstance(value, str)})


def _parse(data: bytes) -> dict[str, Any]:
    if not data.startswith(b"{"):
        raise MalformedModelError("the safetensors header does not begin with a JSON object")
    document = parse_json(data, "the safetensors header", strict=True)
    if not isinstance(document, dict):
        raise MalformedModelError("the safetensors header is not a JSON object")
    return document


def _entry(name: str, entry: object) -> tuple[str, tuple[int, ...], int, int]:
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise MalformedModelError("the name of a tensor is not Unicode text")
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise MalformedModelError(f"tensor {name[:100]!r} lacks a type, a shape or two offsets")
    if dtype not in _BITS:
        raise MalformedModelError(f"tensor {name[:100]!r} has type {dtype[:40]!r}, which does not exist")
    if len(shape) > _MAX_RANK or not all(type(size) is int and 0 <= size < 1 << 63 for size in shape):
        raise MalformedModelError(f"tensor {name[:100]!r} has a shape that is no list of sizes")
    bits = prod(shape) * _BITS[dtype]
    if bits % 8 or not 0 <= begin <= end or end - begin != bits // 8:
        raise MalformedModelError(
            f"tensor {name[:100]!r} of {dtype} {shape} takes {bits // 8} bytes, its offsets span {end - begin}"
        )
    return dtype, tuple(shape), begin, end


def _check_spans(spans: list[tuple[int, int, str]], available: int) -> None:
    """Check that the weights lie one after another without holes and fill the file."""
    position = 0
    for begin, end, name in sorted(spans):
        if begin != position:
            raise MalformedModelError(
                f"tensor {name[:100]!r} begins at {begin} where the one before ends at {position}"
            )
        position = end
    if position > available:
        raise TruncatedModelError(f"the weights take {position} bytes, the file holds {available}")
    if position < available:
        raise MalformedModelError(f"{available - position} bytes follow the last tensor")


def _facts(tensors: Tensors, metadata: Mapping[str, str]) -> dict[str, Any]:
    facts = describe_tensors(tensors)
    if "format" in metadata:
        facts["weightsOf"] = metadata["format"][:100]
    return facts


def _config(files: ModelFiles) -> dict[str, Any]:
    """Take what Hugging Face's ``config.json`` says about the architecture; a broken one says nothing."""
    if not 0 < files.sizes.get("config.json", 0) <= _MAX_CONFIG_BYTES:
        return {}
    with opened(files, "config.json") as source:
        try:
            document = parse_json(source.read_at(0, source.size), "config.json")
        except ModelError:
            return {}
    facts: dict[str, Any] = {}
    if isinstance(document, dict):
        architectures, kind = document.get("architectures"), document.get("model_type")
        if isinstance(architectures, list) and architectures:
            facts["architectures"] = [str(each)[:200] for each in architectures[:20]]
        if isinstance(kind, str):
            facts["modelType"] = kind[:200]
    return facts
