"""Caffe models written by hand, converted, and run after they are carried on to ONNX."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from wire import field, varint

from klever.steps.converters.caffemodel_to_netdef import CONVERTER
from klever.steps.converters.interface import Conversion, Options, SourceModel, Survey
from klever.steps.converters.netdef_to_onnx import CONVERTER as ONWARD
from klever.steps.files import FileSource, LocalFiles
from klever.steps.formats.netdef.graph import Net, read_net
from klever.steps.formats.table import load_format

Array = NDArray[np.float32]


def values(name: str, shape: Sequence[int], low: float, high: float, seed: int) -> Array:
    """Draw an array as ``tests/oracles/caffe_layers.py`` draws it."""
    source = np.random.RandomState(zlib.crc32(f"{name}/{seed}".encode()))
    drawn = source.uniform(low, high, shape) if low != high else np.full(shape, low)
    whole = isinstance(low, int) and isinstance(high, int)
    return np.asarray(np.floor(drawn) if whole else drawn, np.float32)


def blob(array: Array) -> bytes:
    """Encode a BlobProto as today's Caffe does: a shape, and packed floats."""
    shape = b"".join(map(varint, array.shape))
    return field(7, field(1, shape)) + field(5, np.asarray(array, "<f4").tobytes())


def legacy_blob(array: Array) -> bytes:
    """Encode a BlobProto as Caffe did in 2013: four sizes."""
    sizes = [1] * (4 - array.ndim) + list(array.shape)
    return b"".join(field(at + 1, size) for at, size in enumerate(sizes)) + field(5, array.astype("<f4").tobytes())


def unpacked_blob(array: Array) -> bytes:
    """Encode a BlobProto with a tag before each number, and gradients behind them."""
    numbers = b"".join(b"\x2d" + number.tobytes() for number in array.astype("<f4").reshape(-1))
    return field(7, field(1, b"".join(map(varint, array.shape)))) + numbers + field(6, b"\0" * 4 * array.size)


def v2(layers: Mapping[str, Sequence[bytes]]) -> bytes:
    """Encode a NetParameter with `layer`."""
    return b"".join(
        field(100, field(1, name.encode()) + field(2, b"Any") + b"".join(field(7, each) for each in blobs))
        for name, blobs in layers.items()
    )


def v1(layers: Mapping[str, Sequence[bytes]]) -> bytes:
    """Encode a NetParameter with `layers`."""
    return b"".join(
        field(2, field(4, name.encode()) + field(5, 4) + b"".join(field(6, each) for each in blobs))
        for name, blobs in layers.items()
    )


def v0(layers: Mapping[str, Sequence[bytes]]) -> bytes:
    """Encode a NetParameter whose layers wrap those of 2013."""
    return b"".join(
        field(2, field(1, field(1, name.encode()) + field(2, b"conv") + b"".join(field(50, each) for each in blobs)))
        for name, blobs in layers.items()
    )


def source(folder: Path, net: str, weights: bytes) -> SourceModel:
    """Lay the two files into a folder and read their signature."""
    folder.mkdir(exist_ok=True)
    (folder / "deploy.prototxt").write_text(net)
    (folder / "net.caffemodel").write_bytes(weights or v2({"none": []}))
    return opened(folder, "CaffeModel")


def opened(folder: Path, form: str) -> SourceModel:
    """Recognise and read a model."""
    files = LocalFiles.below(folder)
    format_ = load_format(form)
    claim = format_.claim(files)
    assert claim is not None
    assert not claim.missing
    return SourceModel(files, claim, format_.read(files, claim, None).signature)


class Converted:
    """A Caffe model converted: its operators, its fills, and what it computes."""

    def __init__(self, folder: Path, net: str, weights: bytes = b"", options: Options | None = None) -> None:
        self.folder = folder / "netdef"
        self.folder.mkdir(parents=True)
        self.model = source(folder / "caffe", net, weights)
        self.options = options or Options()
        self.conversion: Conversion = CONVERTER.convert(self.model, self.options, self.folder)

    @property
    def predict(self) -> Net:
        return read_net(FileSource(self.folder / "predict_net.pb"))

    @property
    def init(self) -> Net:
        return read_net(FileSource(self.folder / "init_net.pb"))

    def types(self) -> list[str]:
        return [operator.type for operator in self.predict.operators]

    def run(self, **inputs: Array) -> dict[str, Any]:
        """Carry the NetDef on to ONNX and run that."""
        return run_netdef(self.folder, inputs)


def run_netdef(folder: Path, inputs: Mapping[str, Array]) -> dict[str, Any]:
    """Carry a NetDef on to ONNX and run that in onnxruntime."""
    target = folder.parent / f"{folder.name}.onnx"
    target.mkdir()
    ONWARD.convert(opened(folder, "NetDef"), Options(), target)
    session = onnxruntime.InferenceSession(target / "model.onnx", providers=["CPUExecutionProvider"])
    fed = {given.name: inputs[given.name] for given in session.get_inputs()}
    names = [given.name for given in session.get_outputs()]
    return dict(zip(names, session.run(None, fed), strict=True))


def surveyed(folder: Path, net: str, weights: bytes = b"", options: Options | None = None) -> Survey:
    """Survey a model."""
    return CONVERTER.survey(source(folder, net, weights), options or Options())
