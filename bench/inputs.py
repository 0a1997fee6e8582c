"""The large models that are measured: real networks with weights as training leaves them."""

import json
import struct
from collections.abc import Iterator
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


#: A chain of fully connected layers of 500 MB, for MXNet and Caffe.
_FULL_LAYERS, _FULL_WIDTH = 10, 3536


def _full_weights() -> Iterator[bytes]:
    dice = np.random.default_rng(0)
    for _ in range(_FULL_LAYERS):
        weights = dice.standard_normal(_FULL_WIDTH * _FULL_WIDTH, dtype=np.float32) * np.float32(_FULL_WIDTH**-0.5)
        yield weights.tobytes()


def write_large_mxnet(directory: Path) -> int:
    """Write a symbol and its params; returns the bytes of the params."""
    directory.mkdir(parents=True)
    nodes: list[dict[str, object]] = [{"op": "null", "name": "data", "inputs": []}]
    before = 0
    for index in range(_FULL_LAYERS):
        nodes.append({"op": "null", "name": f"fc{index}_weight", "inputs": []})
        attributes = {"num_hidden": str(_FULL_WIDTH), "no_bias": "True"}
        inputs = [[before, 0, 0], [len(nodes) - 1, 0, 0]]
        nodes.append({"op": "FullyConnected", "name": f"fc{index}", "attrs": attributes, "inputs": inputs})
        before = len(nodes) - 1
    arguments = [position for position, node in enumerate(nodes) if node["op"] == "null"]
    symbol = {
        "nodes": nodes,
        "arg_nodes": arguments,
        "heads": [[before, 0, 0]],
        "attrs": {"mxnet_version": ["int", 10901]},
    }
    (directory / "large-symbol.json").write_text(json.dumps(symbol))
    (directory.parent / "ormbfile.yaml").write_text(_ormbfile("MXNetParams"))
    path = directory / "large-0000.params"
    with path.open("wb") as stream:
        stream.write(struct.pack("<QQQ", 0x112, 0, _FULL_LAYERS))
        for weights in _full_weights():
            # An NDArray of version 2: dense, two sizes, on the CPU, float32.
            stream.write(struct.pack("<IiiqqiIi", 0xF993FAC9, 0, 2, _FULL_WIDTH, _FULL_WIDTH, 1, 0, 0))
            stream.write(weights)
        names = [f"arg:fc{index}_weight".encode() for index in range(_FULL_LAYERS)]
        stream.write(struct.pack("<Q", len(names)))
        for name in names:
            stream.write(struct.pack("<Q", len(name)) + name)
    return path.stat().st_size


def write_large_caffe(directory: Path) -> int:
    """Write a prototxt and its caffemodel; returns the bytes of the caffemodel."""
    directory.mkdir(parents=True)
    layers = [
        f'layer {{ name: "fc{index}" type: "InnerProduct" bottom: "{f"fc{index - 1}" if index else "data"}" '
        f'top: "fc{index}" inner_product_param {{ num_output: {_FULL_WIDTH} bias_term: false }} }}'
        for index in range(_FULL_LAYERS)
    ]
    head = f'name: "large"\ninput: "data"\ninput_shape {{ dim: 1 dim: {_FULL_WIDTH} }}\n'
    (directory / "deploy.prototxt").write_text(head + "\n".join(layers) + "\n")
    (directory.parent / "ormbfile.yaml").write_text(_ormbfile("CaffeModel"))
    path = directory / "large.caffemodel"
    with path.open("wb") as stream:
        for index, weights in enumerate(_full_weights()):
            # BlobProto: data is field 5, packed; shape is field 7 with dim as field 1, packed.
            sizes = _varint(_FULL_WIDTH) * 2
            shape = b"\x0a" + _varint(len(sizes)) + sizes
            blob = b"\x3a" + _varint(len(shape)) + shape + b"\x2a" + _varint(len(weights))
            name = f"fc{index}".encode()
            kind = b"InnerProduct"
            # LayerParameter: name is field 1, type field 2, blobs field 7.
            layer = b"\x0a" + _varint(len(name)) + name + b"\x12" + _varint(len(kind)) + kind
            layer += b"\x3a" + _varint(len(blob) + len(weights)) + blob
            # NetParameter.layer is field 100.
            stream.write(b"\xa2\x06" + _varint(len(layer) + len(weights)) + layer)
            stream.write(weights)
    return path.stat().st_size


def _ormbfile(form: str) -> str:
    return f"format: {form}\nsignature:\n  inputs:\n  - name: data\n    dType: float32\n    size: [1, {_FULL_WIDTH}]\n"
