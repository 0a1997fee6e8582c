"""The table of Triton's backends: which format each takes, since when no more, and in which file.

File names are those of Triton's "Model Repository", types those of each backend's table of data types.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from klever.steps.serving.servers.triton.release import Release

_NUMBERS: Final = frozenset({"UINT8", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"})
_UNSIGNED: Final = frozenset({"UINT16", "UINT32", "UINT64"})


@dataclass(frozen=True)
class Backend:
    """What runs one format."""

    #: Its name in ``backend``; empty where no release knows it by one.
    name: str
    #: Its name in ``platform``.
    platform: str
    #: The file or directory that it looks for in the directory of a version.
    file: str
    #: The data types that it takes, as the protocol calls them.
    datatypes: frozenset[str]
    #: The first release without it.
    gone: Release | None = None
    #: Whether it takes a tensor without dimensions where requests are not batched.
    takes_scalars: bool = False
    #: Whether it runs on graphics cards only.
    needs_gpu: bool = False
    #: Whether the file says how large a batch may be, where no reader of ours finds it, and more keeps it from loading.
    bounds_batches: bool = False
    #: Whether `platform` has to be there beside `name`, because one backend runs several formats.
    tells_platform: bool = False

    def is_in(self, release: Release) -> bool:
        """Say whether a release has the backend."""
        return self.gone is None or release < self.gone


_TENSORFLOW_TYPES: Final = _NUMBERS | _UNSIGNED | {"BOOL", "BYTES"}
_WITHOUT_TENSORFLOW: Final = Release(25, 3)
_WITHOUT_CAFFE2: Final = Release(20, 11)
#: Format to its backend.
BACKENDS: Final = MappingProxyType(
    {
        "ONNX": Backend(
            "onnxruntime",
            "onnxruntime_onnx",
            "model.onnx",
            _NUMBERS | _UNSIGNED | {"BOOL", "BYTES"},
            # ``[1]`` stands for it on both sides (onnxruntime.cc, ValidateInputs).
            takes_scalars=True,
        ),
        "TorchScript": Backend("pytorch", "pytorch_libtorch", "model.pt", _NUMBERS | {"BOOL", "BYTES"}),
        "TensorRT": Backend(
            "tensorrt",
            "tensorrt_plan",
            "model.plan",
            frozenset({"BOOL", "UINT8", "INT8", "INT32", "INT64", "FP16", "BF16", "FP32"}),
            needs_gpu=True,
            bounds_batches=True,
        ),
        "SavedModel": Backend(
            "tensorflow",
            "tensorflow_savedmodel",
            "model.savedmodel",
            _TENSORFLOW_TYPES,
            gone=_WITHOUT_TENSORFLOW,
            tells_platform=True,
        ),
        "GraphDef": Backend(
            "tensorflow",
            "tensorflow_graphdef",
            "model.graphdef",
            _TENSORFLOW_TYPES,
            gone=_WITHOUT_TENSORFLOW,
            tells_platform=True,
        ),
        "NetDef": Backend("", "caffe2_netdef", "model.netdef", _NUMBERS | {"BOOL", "UINT16"}, gone=_WITHOUT_CAFFE2),
    }
)


def formats_of(release: Release) -> frozenset[str]:
    """Return the formats that a release takes."""
    return frozenset(form for form, backend in BACKENDS.items() if backend.is_in(release))
