"""PyTorch's ZIP containers: which of its kinds an archive is, and the tensors in its pickles.

``torch.save``, ``torch.jit.save``, ``torch.package`` and ``torch.export.save`` all write a ZIP archive with one
top folder of any name. What does not belong here: TorchScript's code, the judgement of a pickle's globals.

Sources: ``torch/csrc/jit/serialization/export_module.cpp``, ``torch/serialization.py``,
``torch/package/package_exporter.py``, ``torch/export/pt2_archive/constants.py``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from klever.steps.encodings.pickle import Global, Object, Persistent, Value
from klever.steps.encodings.zip import ZipArchive

if TYPE_CHECKING:
    from klever.steps.files import Source


class Container(Enum):
    """What a ZIP archive of PyTorch's holds, in words for messages."""

    SCRIPT = "a TorchScript archive"
    PICKLE = "a pickle written by torch.save"
    PACKAGE = "a torch.package archive"
    EXPORTED = "an exported program (torch.export.save)"


def open_container(source: "Source") -> ZipArchive:
    """Open an archive as PyTorch does, which writes no CRCs after ``torch.serialization.set_crc32_options(False)``."""
    return ZipArchive(source, crc_optional=True)


def recognise(names: Iterable[str]) -> tuple[Container, str] | None:
    """Tell from an archive's member names which container it is, and its top folder with the slash."""
    names = list(names)
    top, slash, _ = names[0].partition("/") if names else ("", "", "")
    prefix = top + slash
    if not slash:
        # The exporter of the first torch.export wrote its members without a folder.
        return (Container.EXPORTED, "") if "serialized_exported_program.json" in names else None
    inner = {name[len(prefix) :] for name in names if name.startswith(prefix)}
    folders = {name.partition("/")[0] for name in inner if "/" in name}
    if ".data/extern_modules" in inner:
        return Container.PACKAGE, prefix
    if "archive_format" in inner and ("models" in folders or "archive_version" in inner):
        return Container.EXPORTED, prefix
    if "serialized_exported_program.json" in inner:
        return Container.EXPORTED, prefix
    has_code = "code" in folders or "bytecode.pkl" in inner
    if ("data.pkl" in inner and (has_code or "constants.pkl" in inner)) or ("model.json" in inner and has_code):
        return Container.SCRIPT, prefix
    if "data.pkl" in inner and ("version" in inner or "data" in folders):
        return Container.PICKLE, prefix
    return None


@dataclass(frozen=True, slots=True)
class TensorType:
    """A tensor as a pickle describes it: numpy's name of its type (None if numpy has none), its sizes."""

    dtype: str | None
    shape: tuple[int, ...]


#: The legacy storage classes, by which pickles of every version name the type.
_STORAGES: Final = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
#: More dimensions than PyTorch's kernels take; a guard against absurd sizes.
_MAX_RANK: Final = 64


def tensor_type(value: Value) -> TensorType | None:
    """Return the type of a pickled tensor or parameter, None for any other value.

    ``_rebuild_tensor_v2(storage, offset, size, stride, ...)`` of ``torch/_utils.py``, whose storage is a
    persistent id ``("storage", class, key, device, count)``; `Parameter` wraps such a tensor.
    """
    if isinstance(value, Object) and _named(value.function, "_rebuild_parameter") and value.args:
        value = value.args[0]
    if not isinstance(value, Object) or not isinstance(value.function, Global):
        return None
    if not value.function.name.startswith("_rebuild_") or len(value.args) < 4:
        return None
    storage, size = value.args[0], value.args[2]
    if not isinstance(storage, Persistent) or not isinstance(storage.id, tuple) or len(storage.id) < 2:
        return None
    if not isinstance(size, tuple) or len(size) > _MAX_RANK:
        return None
    if not all(type(length) is int and 0 <= length < 1 << 63 for length in size):
        return None
    kind = storage.id[1]
    return TensorType(_STORAGES.get(kind.name) if isinstance(kind, Global) else None, size)


#: How PyTorch 1.x wrote lists that are now tagged with their type.
_LISTS: Final = frozenset({"build_intlist", "build_tensorlist", "build_doublelist", "build_boollist"})


def untagged(value: Value) -> Value:
    """Take the value out of ``restore_type_tag(value, type)`` or one of its forerunners."""
    if isinstance(value, Object) and isinstance(value.function, Global) and value.args:
        is_tagged = value.function.name == "restore_type_tag" or value.function.name in _LISTS
        return value.args[0] if is_tagged else value
    return value


def _named(function: Value, name: str) -> bool:
    return isinstance(function, Global) and function.name == name
