"""The headers of GGUF files: typed metadata and descriptions of tensors.

The layout is that of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 1 to 3, of either byte
order. Metadata and tensor descriptions are walked once; token lists are passed over, weights not read. What does not
belong here: the graph, which a GGUF file does not hold but llama.cpp builds from the architecture's name.
"""

import struct
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

from klever.steps.errors import LimitExceededError, MalformedModelError, TruncatedModelError
from klever.steps.files import ModelFiles, Source, opened
from klever.steps.formats.gguf import MAGIC
from klever.steps.formats.interface import Reading
from klever.steps.model.signature import Signature
from klever.steps.model.weights import Tensors, count_modules, describe_tensors, join_shards

_VERSIONS: Final = (1, 2, 3)

MAX_TENSORS: Final = 200_000
MAX_ENTRIES: Final = 100_000
#: Items of all arrays together; the longest vocabularies have some 300,000 tokens and as many merges.
MAX_ITEMS: Final = 8_000_000
MAX_TEXT_BYTES: Final = 16 << 20
_MAX_KEY_BYTES: Final = 64 << 10
#: ``GGML_MAX_DIMS`` is 4.
_MAX_RANK: Final = 8
_MAX_NESTING: Final = 4
_BLOCK_BYTES: Final = 64 << 10
_KEPT_TEXT_BYTES: Final = 1000

#: Value types with their ``struct`` codes; 8 is text, 9 an array.
_NUMBERS: Final = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_TEXT: Final = 8
_ARRAY: Final = 9

#: ``ggml_type`` with its name, elements in a block and bytes of a block.
_TYPES: Final = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip
#: ``general.file_type``: what most weights are quantised to (``llama_ftype``).
_FILE_TYPES: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
    39: "NVFP4", 40: "Q1_0",
}  # fmt: skip
#: Keys without the architecture's name in front, to the names of facts.
_SIZES: Final = {
    "context_length": "contextLength",
    "embedding_length": "embeddingLength",
    "block_count": "blocks",
    "expert_count": "experts",
}
_TOKENS: Final = "tokenizer.ggml.tokens"


@dataclass(slots=True)
class Header:
    """One file's metadata and tensors.

    Of ``metadata`` the scalars are kept, long texts cut; ``lengths`` counts the items of its arrays. ``tensors`` maps
    a name to type and sizes, fastest axis first.
    """

    version: int
    metadata: dict[str, Any] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)


def read_model(files: ModelFiles, paths: tuple[str, ...], note: str) -> Reading:
    """Read the headers of all shards; ``note`` says why there is no signature. Raises what `read_header` raises."""
    headers = []
    for path in paths:
        with opened(files, path) as source:
            headers.append(read_header(source))
    tensors = join_shards(header.tensors for header in headers)
    return Reading(
        signature=Signature(layers=count_modules(tensors)),
        notes=(note,),
        facts=_facts(headers[0], tensors),
    )


class _Cursor:
    """A position that moves forward over a source in blocks."""

    __slots__ = ("_data", "_source", "_start", "items", "order", "position", "wide")

    def __init__(self, source: Source, order: str, *, wide: bool) -> None:
        self._source = source
        self._data = b""
        self._start = 0
        self.position = 8
        self.order = order
        #: Version 1 counted in 32 bits, later ones in 64.
        self.wide = wide
        self.items = MAX_ITEMS

    def take(self, length: int) -> bytes:
        at = self.position - self._start
        if at < 0 or at + length > len(self._data):
            self._start, at = self.position, 0
            self._data = self._source.read_at(self.position, max(length, _BLOCK_BYTES))
        data = self._data[at : at + length]
        if len(data) < length:
            raise TruncatedModelError(f"the GGUF file ends at byte {self._source.size} inside its header")
        self.position += length
        return data

    def skip(self, length: int) -> None:
        if length > self._source.size - self.position:
            raise TruncatedModelError(f"the GGUF header claims {length} bytes at {self.position}, past the file's end")
        self.position += length

    def number(self, code: str) -> Any:
        return struct.unpack(self.order + code, self.take(struct.calcsize(f"={code}")))[0]

    def size(self) -> int:
        value: int = self.number("Q" if self.wide else "I")
        return value

    def text(self, limit: int) -> str:
        length = self.size()
        if length > limit:
            raise LimitExceededError(f"a text of the GGUF header claims {length} bytes, more than {limit}")
        return self.take(length).decode("utf-8", "backslashreplace")

    def skip_texts(self, count: int) -> None:
        """Pass over that many texts, whose lengths have to be read one by one."""
        layout = struct.Struct(self.order + ("Q" if self.wide else "I"))
        width, unpack = layout.size, layout.unpack_from
        position, data, start = self.position, self._data, self._start
        end = start + len(data) - width
        for _ in range(count):
            if position > end or position < start:
                self.skip(position - self.position)
                self.take(width)
                data, start = self._data, self._start
                end = start + len(data) - width
            position += width + unpack(data, position - start)[0]
        self.skip(position - self.position)


def read_header(source: Source) -> Header:
    """Walk one file's metadata and tensor descriptions.

    Raises `MalformedModelError`, `TruncatedModelError` where the file ends early, `LimitExceededError` where it claims
    more than any real one.
    """
    start = source.read_at(0, 8)
    if len(start) < 8:
        raise TruncatedModelError(f"the file of {source.size} bytes is shorter than a GGUF header")
    if not start.startswith(MAGIC):
        raise MalformedModelError("the file does not begin with the letters GGUF")
    # A big-endian writer leaves the low half of a little-endian version empty.
    order = "<" if start[4:6] != b"\0\0" else ">"
    version = int.from_bytes(start[4:], "little" if order == "<" else "big")
    if version not in _VERSIONS:
        raise MalformedModelError(f"GGUF version {version} is not among {', '.join(map(str, _VERSIONS))}")
    cursor = _Cursor(source, order, wide=version > 1)
    tensors, entries = cursor.size(), cursor.size()
    if tensors > MAX_TENSORS or entries > MAX_ENTRIES:
        raise LimitExceededError(f"the GGUF header claims {tensors} tensors and {entries} entries of metadata")
    header = Header(version)
    for _ in range(entries):
        _read_entry(cursor, header)
    ends = [_read_tensor(cursor, header) for _ in range(tensors)]
    _check_end(cursor, header, max(ends, default=0), source.size)
    return header


def _read_entry(cursor: _Cursor, header: Header) -> None:
    key = cursor.text(_MAX_KEY_BYTES)
    kind = cursor.number("I")
    if kind == _ARRAY:
        header.lengths[key] = _skip_array(cursor, 0)
    elif kind == _TEXT:
        header.metadata[key] = cursor.text(MAX_TEXT_BYTES)[:_KEPT_TEXT_BYTES]
    elif kind in _NUMBERS:
        header.metadata[key] = cursor.number(_NUMBERS[kind])
    else:
        raise MalformedModelError(f"the GGUF entry {key[:100]!r} has value type {kind}, which does not exist")


def _skip_array(cursor: _Cursor, depth: int) -> int:
    """Pass over an array and return how many items it has."""
    if depth > _MAX_NESTING:
        raise LimitExceededError(f"arrays of the GGUF header are nested deeper than {_MAX_NESTING}")
    kind, count = cursor.number("I"), cursor.size()
    if kind in _NUMBERS:
        cursor.skip(count * struct.calcsize(f"={_NUMBERS[kind]}"))
        return count
    cursor.items -= count
    if cursor.items < 0:
        raise LimitExceededError(f"arrays of the GGUF header hold more than {MAX_ITEMS} texts")
    if kind == _TEXT:
        cursor.skip_texts(count)
    elif kind == _ARRAY:
        for _ in range(count):
            _skip_array(cursor, depth + 1)
    else:
        raise MalformedModelError(f"an array of the GGUF header has item type {kind}, which does not exist")
    return count


def _read_tensor(cursor: _Cursor, header: Header) -> int:
    """Read one tensor's description and return where its data ends behind the header, as far as is known."""
    name = cursor.text(_MAX_KEY_BYTES)
    rank = cursor.number("I")
    if rank > _MAX_RANK:
        raise MalformedModelError(f"tensor {name[:100]!r} has rank {rank}")
    sizes = tuple(cursor.size() for _ in range(rank))
    kind, offset = cursor.number("I"), cursor.number("Q")
    if name in header.tensors:
        raise MalformedModelError(f"two tensors have the name {name[:100]!r}")
    title, elements, width = _TYPES.get(kind, (f"type {kind}", 1, 0))
    header.tensors[name] = (title, sizes)
    if sizes and sizes[0] % elements:
        raise MalformedModelError(f"rows of {sizes[0]} elements of tensor {name[:100]!r} do not fill blocks of {title}")
    end: int = offset + prod(sizes) // elements * width
    return end


def _check_end(cursor: _Cursor, header: Header, end: int, size: int) -> None:
    alignment = header.metadata.get("general.alignment", 32)
    if not (isinstance(alignment, int) and 0 < alignment <= 1 << 20):
        raise MalformedModelError(f"the GGUF file states an alignment of {alignment}")
    if not header.tensors:
        return
    start = -(-cursor.position // alignment) * alignment
    if start + end > size:
        raise TruncatedModelError(f"the weights end at byte {start + end}, the file at {size}")


def _facts(header: Header, tensors: Tensors) -> dict[str, Any]:
    metadata = header.metadata
    facts: dict[str, Any] = {"ggufVersion": header.version}
    architecture = metadata.get("general.architecture")
    for key, fact in (("architecture", "architecture"), ("name", "modelName"), ("size_label", "sizeLabel")):
        if isinstance(value := metadata.get(f"general.{key}"), str):
            facts[fact] = value
    if isinstance(kind := metadata.get("general.file_type"), int):
        facts["quantization"] = _FILE_TYPES.get(kind, f"type {kind}")
    for key, fact in _SIZES.items():
        if isinstance(value := metadata.get(f"{architecture}.{key}"), int):
            facts[fact] = value
    if _TOKENS in header.lengths:
        facts["vocabularySize"] = header.lengths[_TOKENS]
    return facts | describe_tensors(tensors)
