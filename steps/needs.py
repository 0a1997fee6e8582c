"""How much memory and disk a conversion takes, before it is begun: what a pod asks for.

    >>> estimate(100_000_000, ["mxnetparams_to_onnx"], ["prove-mxnet"]).memory_quantity
    '526Mi'

Arithmetic over constants that were measured: too little ends in a killed pod, too much in one that finds no node. What
does not belong here: measuring a process, planning.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from klever.steps.quantities import mebibytes

_MIB: Final = 1 << 20


@dataclass(frozen=True)
class Needs:
    """Memory, and temporary files on the disk, in bytes."""

    memory: int
    storage: int

    @property
    def memory_quantity(self) -> str:
        """The memory as Kubernetes writes it: ``512Mi``."""
        return mebibytes(self.memory)

    @property
    def storage_quantity(self) -> str:
        """The temporary files as Kubernetes writes them."""
        return mebibytes(self.storage)


@dataclass(frozen=True)
class _Cost:
    """Memory of a part of the work: MiB whatever the model, and bytes for each byte of the model's files."""

    base_mib: int
    factor: float

    def of(self, size: int) -> float:
        return self.base_mib * _MIB + self.factor * size


# Measured as the largest sum of resident memory, libraries included, of Klever and its program, on stacks of dense
# layers of 17, 67 and 201 MB and on forests of 2 to 30 MB, from a store and to a store, on x86-64 with two cores. The
# parts run one after the other, so that the dearest counts. Written down is what was measured, rounded up.

#: Converters of our own stream weights: 76 MiB at 17 MB and at 201 MB.
_STREAMED: Final = _Cost(96, 0.0)
#: tf2onnx keeps every weight as objects of Python: 1360 MiB at 17 MB, 3660 at 67 MB, 11813 at 201 MB.
_TF2ONNX: Final = _Cost(700, 60.0)
#: Keras and its SavedModel: 627 MiB at 17 MB, 917 at 67 MB.
_TENSORFLOW: Final = _Cost(600, 6.0)
#: TorchScript: 653 MiB at 17 MB, 1377 at 201 MB.
_TORCH: Final = _Cost(620, 4.2)
#: skl2onnx: 350 MiB for a forest of 6 MB, 746 for one of 30 MB.
_SKLEARN: Final = _Cost(400, 20.0)
#: 142 MiB for trees of 0.4 MB, 201 for those of 2.5 MB.
_XGBOOST: Final = _Cost(160, 40.0)

_OF_CONVERTER: Final[Mapping[str, _Cost]] = MappingProxyType(
    {
        "graphdef_to_onnx": _TF2ONNX,
        "h5_to_onnx": _TF2ONNX,
        "h5_to_savedmodel": _TENSORFLOW,
        "keras_to_onnx": _TF2ONNX,
        "keras_to_savedmodel": _TENSORFLOW,
        "savedmodel_to_onnx": _TF2ONNX,
        "sklearn_to_onnx": _SKLEARN,
        "torchscript_to_onnx": _TORCH,
        "xgboost_to_onnx": _XGBOOST,
    }
)

_OF_RUNNER: Final[Mapping[str, _Cost]] = MappingProxyType(
    {
        "convert-sklearn": _SKLEARN,
        "convert-sklearn-0.24": _SKLEARN,
        "convert-sklearn-1.2": _SKLEARN,
        "convert-tensorflow": _TENSORFLOW,
        "convert-torch": _TORCH,
        # OpenCV: 172 MiB at 17 MB, 522 at 201 MB.
        "prove-caffe": _Cost(180, 2.1),
        # Caffe2: 392 MiB at 17 MB, 1505 at 201 MB.
        "prove-caffe2": _Cost(300, 6.4),
        # MXNet and onnxruntime: 236 MiB at 17 MB, 589 at 201 MB.
        "prove-mxnet": _Cost(220, 2.1),
        "prove-onnx": _Cost(220, 2.1),
        "prove-xgboost": _XGBOOST,
        "prove-xgboost-binary": _XGBOOST,
    }
)
#: For a part that a row is still to be written for: no other library that was measured, save tf2onnx, takes more.
_UNKNOWN: Final = _Cost(700, 8.0)
#: Other models than those that were measured: wider layers, more intermediate results, another allocator's mood.
_MARGIN: Final = 1.25
#: Source and result of each converter lie on the disk together, and the last result once more as inputs and outputs of
#: its proof at most: measured were 2 sizes for one converter, 3 for two, 3 for tf2onnx.
_SPARE_COPIES: Final = 2
_SPARE_DISK_MIB: Final = 64


def estimate(size: int, converters: Sequence[str], runners: Iterable[str] = ()) -> Needs:
    """Estimate for a model whose files have ``size`` bytes, unpacked.

    ``converters`` are the ids of the path, ``runners`` the environments that run models for the proof; none where
    nothing is run.
    """
    costs = [_OF_CONVERTER.get(each, _STREAMED) for each in converters]
    costs += [_OF_RUNNER.get(each, _UNKNOWN) for each in runners]
    memory = max(cost.of(size) for cost in (_STREAMED, *costs))
    storage = _SPARE_DISK_MIB * _MIB + (len(converters) + _SPARE_COPIES) * size
    return Needs(int(memory * _MARGIN), storage)
