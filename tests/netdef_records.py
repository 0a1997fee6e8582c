"""Uses of Caffe2's operators as `oracles/caffe2_operators.py` recorded them, and nets written by hand.

python tests/netdef_records.py RECORDS.npz.xz [OPSET]     # converts and compares every record of a file, in bulk
"""

import io
import lzma
import struct
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from wire import field, varint

from klever.steps.converters.interface import Options, SourceModel
from klever.steps.converters.netdef_to_onnx import CONVERTER
from klever.steps.errors import KleverError
from klever.steps.files import LocalFiles
from klever.steps.formats.netdef import FORMAT
from klever.steps.model.signature import Signature, Tensor

Arrays = Mapping[str, NDArray[Any]]


def read_records(path: Path) -> dict[str, list[dict[str, NDArray[Any]]]]:
    """Return for each operator what was recorded of every draw."""
    with lzma.open(path) as stream:
        stored = np.load(io.BytesIO(stream.read()))
    records: dict[str, dict[str, dict[str, NDArray[Any]]]] = {}
    for key in stored.files:
        name, draw, part = key.split("/", 2)
        records.setdefault(name, {}).setdefault(draw, {})[part] = stored[key]
    return {name: list(draws.values()) for name, draws in records.items()}


def part(record: Arrays, kind: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(kind): array for key, array in record.items() if key.startswith(kind)}


def recorded_model(record: Arrays, folder: Path, *, open_sizes: bool = False) -> SourceModel:
    """Write a record's two nets; the shapes of what was fed are the author's, or nothing but their ranks."""
    fed = part(record, "in/")
    shapes = {name: (-1,) * array.ndim if open_sizes else array.shape for name, array in fed.items()}
    dtypes = {name: array.dtype.name for name, array in fed.items()}
    return source_model(folder, record["init"].tobytes(), record["predict"].tobytes(), shapes, dtypes)


def source_model(
    folder: Path,
    init: bytes,
    predict: bytes,
    shapes: Mapping[str, Sequence[int]] | None = None,
    dtypes: Mapping[str, str] | None = None,
) -> SourceModel:
    (folder / "init_net.pb").write_bytes(init)
    (folder / "predict_net.pb").write_bytes(predict)
    files = LocalFiles.below(folder)
    claim = FORMAT.claim(files)
    assert claim is not None
    tensors = [
        Tensor(name=name, dtype=(dtypes or {}).get(name), shape=tuple(shape)) for name, shape in (shapes or {}).items()
    ]
    author = Signature(inputs=tuple(tensors)) if shapes else None
    return SourceModel(files, claim, FORMAT.read(files, claim, author).signature)


def converted(model: SourceModel, folder: Path, options: Options | None = None) -> Path:
    result = folder / "result"
    result.mkdir()
    CONVERTER.convert(model, options or Options(), result)
    return result / "model.onnx"


def run_onnx(path: Path, fed: Arrays) -> dict[str, NDArray[Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    taken = {each.name for each in session.get_inputs()}
    names = [each.name for each in session.get_outputs()]
    values = session.run(names, {name: array for name, array in fed.items() if name in taken})
    return dict(zip(names, values, strict=True))


def differences(got: Arrays, wanted: Arrays) -> list[str]:
    """Say in which outputs shapes, types or values differ."""
    found = [f"{name} is missing" for name in wanted if name not in got]
    for name in set(wanted) & set(got):
        ours, theirs = got[name], wanted[name]
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            found.append(f"{name}: {ours.dtype}{ours.shape} and not {theirs.dtype}{theirs.shape}")
        elif not np.allclose(ours, theirs, rtol=1e-3, atol=1e-4, equal_nan=True):
            found.append(f"{name}: {ours} and not {theirs}")
    return found


# Nets written by hand


def argument(name: str, value: Any) -> bytes:
    written = field(1, name.encode())
    if isinstance(value, bool | int):
        return written + field(3, int(value))
    if isinstance(value, float):
        return written + b"\x15" + struct.pack("<f", value)
    if isinstance(value, str | bytes):
        return written + field(4, value.encode() if isinstance(value, str) else value)
    for item in value:
        written += b"\x2d" + struct.pack("<f", item) if isinstance(item, float) else varint(6 << 3) + varint(item)
    return written


def operator(kind: str, inputs: Sequence[str], outputs: Sequence[str], **arguments: Any) -> bytes:
    blobs = [field(1, name.encode()) for name in inputs] + [field(2, name.encode()) for name in outputs]
    stated = [field(5, argument(name, value)) for name, value in arguments.items()]
    return b"".join([*blobs, field(4, kind.encode()), *stated])


def net(*operators: bytes, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> bytes:
    listed = [field(7, name.encode()) for name in inputs] + [field(8, name.encode()) for name in outputs]
    return b"".join([*(field(2, each) for each in operators), *listed])


def filled(name: str, array: NDArray[Any]) -> bytes:
    kinds = {"float32": "GivenTensorFill", "int32": "GivenTensorIntFill", "int64": "GivenTensorInt64Fill"}
    return operator(kinds[array.dtype.name], [], [name], shape=list(array.shape), values=array.ravel().tolist())


def main(path: Path, opset: int) -> None:
    failed = total = 0
    for name, draws in read_records(path).items():
        for record in draws:
            total += 1
            with tempfile.TemporaryDirectory() as made:
                folder = Path(made) / "model"
                folder.mkdir()
                try:
                    result = converted(recorded_model(record, folder), Path(made), Options(opset=opset))
                    found = differences(run_onnx(result, part(record, "in/")), part(record, "out/"))
                except KleverError as error:
                    found = [str(error)]
            if found:
                failed += 1
                print(name, *found)
    print(f"{total - failed} of {total} agree")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 17)
