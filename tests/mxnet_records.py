"""Uses of MXNet's operators as `oracles/mxnet_operators.py` recorded them, as models to convert.

python tests/mxnet_records.py RECORDS.json.xz     # converts and compares every record of a file, in bulk
"""

import base64
import json
import lzma
import struct
import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klever.steps.converters.interface import Options, SourceModel
from klever.steps.converters.mxnetparams_to_onnx import CONVERTER
from klever.steps.files import LocalFiles
from klever.steps.formats.mxnetparams import FORMAT
from klever.steps.formats.mxnetparams.params import DTYPES
from klever.steps.model.signature import Signature, Tensor

Arrays = Mapping[str, NDArray[Any]]
_FLAGS = {name: flag for flag, (name, _) in DTYPES.items()}


def read_records(path: Path) -> list[dict[str, Any]]:
    with lzma.open(path, "rt") as stream:
        return json.load(stream)


def drawn(specs: Mapping[str, Sequence[Any]], seed: int) -> dict[str, NDArray[Any]]:
    """Draw the arrays that the recording program drew."""
    arrays = {}
    for name, (shape, low, high, dtype) in specs.items():
        source = np.random.RandomState(zlib.crc32(f"{name}/{seed}".encode()))
        values = source.uniform(low, high, shape)
        arrays[name] = np.asarray(np.floor(values) if np.dtype(dtype).kind in "iub" else values).astype(dtype)
    return arrays


def outputs(record: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return {
        each["name"]: np.frombuffer(base64.b64decode(each["data"]), each["dtype"]).reshape(each["shape"])
        for each in record["outputs"]
    }


def params_file(arrays: Arrays) -> bytes:
    """Write MXNet's list of arrays, in the second generation."""
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    for array in arrays.values():
        shape = array.shape or (1,)
        parts.append(struct.pack("<IiI", 0xF993FAC9, 0, len(shape)) + struct.pack(f"<{len(shape)}q", *shape))
        parts.append(struct.pack("<iii", 1, 0, _FLAGS[array.dtype.name]) + array.tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    parts += [struct.pack("<Q", len(name)) + name.encode() for name in (f"arg:{each}" for each in arrays)]
    return b"".join(parts)


def source_model(
    folder: Path, symbol: Mapping[str, Any], params: Arrays, inputs: Arrays | None = None, *, open_sizes: bool = False
) -> SourceModel:
    """Write a model's two files, and read its signature; the shapes and types of ``inputs`` are the author's.

    With ``open_sizes`` the author states nothing but ranks.
    """
    document = {"arg_nodes": [], **symbol}
    for node in document["nodes"]:
        node.setdefault("inputs", [])
    (folder / "net-symbol.json").write_text(json.dumps({"nodes": document.pop("nodes"), **document}))
    (folder / "net-0000.params").write_bytes(params_file(params))
    files = LocalFiles.below(folder)
    claim = FORMAT.claim(files)
    assert claim is not None
    author = Signature(
        inputs=tuple(
            Tensor(name=name, dtype=each.dtype.name, shape=(-1,) * each.ndim if open_sizes else each.shape)
            for name, each in (inputs or {}).items()
        )
    )
    read = FORMAT.read(files, claim, author if inputs else None).signature
    stated = {tensor.name: tensor for tensor in author.inputs or ()}
    return SourceModel(
        files, claim, read.model_copy(update={"inputs": tuple(stated.get(t.name, t) for t in read.inputs or ())})
    )


def run_onnx(path: Path, inputs: Arrays) -> dict[str, NDArray[Any]]:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(
        zip(names, session.run(names, {each.name: inputs[each.name] for each in session.get_inputs()}), strict=True)
    )


def converted(
    record: Mapping[str, Any], folder: Path, options: Options | None = None, *, open_sizes: bool = False
) -> Path:
    """Convert a record; returns the path of the result."""
    inputs = drawn(record["inputs"], record["seed"])
    model = source_model(
        folder, record["symbol"], drawn(record["params"], record["seed"]), inputs, open_sizes=open_sizes
    )
    (folder / "result").mkdir()
    CONVERTER.convert(model, options or Options(), folder / "result")
    return folder / "result" / "model.onnx"


def differences(got: Arrays, expected: Arrays, absolute: float = 1e-5, relative: float = 1e-4) -> list[str]:
    """Say where results are not those of MXNet, by name, type, shape and value."""
    found = [f"outputs are {list(got)}, not {list(expected)}"] if list(got) != list(expected) else []
    for name, wanted in expected.items():
        result = got.get(name, np.zeros(0))
        if (result.shape, result.dtype) != (wanted.shape, wanted.dtype):
            found.append(f"{name} is {result.dtype}{result.shape}, not {wanted.dtype}{wanted.shape}")
        elif not np.allclose(
            result.astype("float64"), wanted.astype("float64"), atol=absolute, rtol=relative, equal_nan=True
        ):
            found.append(f"{name} is {result.ravel()[:6]}, not {wanted.ravel()[:6]}")
    return found


def tolerance(record: Mapping[str, Any]) -> tuple[float, float]:
    half = any(each["dtype"] == "float16" for each in record["outputs"])
    return (2e-3, 2e-3) if half else (1e-5, 1e-4)


def main(path: str, *flags: str) -> int:
    failures = 0
    for record in read_records(Path(path)):
        with tempfile.TemporaryDirectory() as folder:
            try:
                result = run_onnx(
                    converted(record, Path(folder), open_sizes="--open" in flags),
                    drawn(record["inputs"], record["seed"]),
                )
                found = differences(result, outputs(record), *tolerance(record))
            except Exception as error:  # noqa: BLE001 - a bulk run reports all of them
                found = [f"{type(error).__name__}: {error}"]
        if found:
            failures += 1
            nodes = [(node["op"], node.get("attrs", {})) for node in record["symbol"]["nodes"] if node["op"] != "null"]
            print(record["operator"], record["seed"], nodes, record["inputs"], *found, sep="\n    ")
    print(failures, "failures")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
