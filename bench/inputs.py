"""The models that are measured: a small one of the tests, and a real ONNX network of a gibibyte."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

#: 16 square float32 matrices of 64 MiB.
_LAYERS, _WIDTH = 16, 4096


def write_large_onnx(path: Path) -> None:
    """Write a chain of matrix products with normally distributed weights, as training leaves them."""
    dice = np.random.default_rng(0)
    nodes = [helper.make_node("MatMul", [f"h{i}", f"w{i}"], [f"h{i + 1}"], name=f"matmul{i}") for i in range(_LAYERS)]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("h0", TensorProto.FLOAT, ["batch", _WIDTH])],
        [helper.make_tensor_value_info(f"h{_LAYERS}", TensorProto.FLOAT, ["batch", _WIDTH])],
    )
    size = 4 * _WIDTH * _WIDTH
    heads = []
    for index in range(_LAYERS):
        tensor = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=[_WIDTH, _WIDTH]).SerializeToString()
        # TensorProto.raw_data is field 9, GraphProto.initializer field 5, both length-delimited.
        head = tensor + b"\x4a" + _varint(size)
        heads.append(b"\x2a" + _varint(len(head) + size) + head)
    small = graph.SerializeToString()
    length = len(small) + sum(map(len, heads)) + _LAYERS * size
    model = helper.make_model(helper.make_graph([], "", [], []), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    model.ClearField("graph")
    with path.open("wb") as stream:
        # ModelProto.graph is field 7.
        stream.write(model.SerializeToString() + b"\x3a" + _varint(length) + small)
        for head in heads:
            stream.write(head)
            weights = dice.standard_normal(_WIDTH * _WIDTH, dtype=np.float32) * np.float32(_WIDTH**-0.5)
            stream.write(weights.tobytes())


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))
