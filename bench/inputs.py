"""The models that are measured: a small one of the tests, and a real ONNX network of a gibibyte."""

import os
from pathlib import Path

from onnx import TensorProto, helper

#: 16 square float32 matrices of 64 MiB.
_LAYERS, _WIDTH = 16, 4096


def write_large_onnx(path: Path) -> None:
    """Write a chain of matrix products whose weights are random bytes, one after the other, never all in memory."""
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
            # Exponents of random floats would overflow a product; memory and time do not depend on them.
            stream.write(os.urandom(size))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))
