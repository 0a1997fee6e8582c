"""An ONNX model in onnxruntime, as a server needs it: what it takes and gives, a check of what is asked, a run.

Names, types and shapes are those of the model's file. What does not belong here: a server, a protocol's messages.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from serve_tensors import TensorError

#: onnxruntime's name of an element type to the protocol's.
DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
}
_CGROUP = "/sys/fs/cgroup/cpu.max"


class ModelFileError(Exception):
    """onnxruntime does not load the model, or the protocol cannot say what it takes or gives."""


@dataclass(frozen=True)
class Port:
    """One input or output: -1 is a dimension of any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Session:
    """A model that is loaded; several threads may run it at once."""

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        """Load the model in ``path``, with external data beside it; raises `ModelFileError`."""
        import onnxruntime

        wanted = onnxruntime.SessionOptions()
        # Errors alone; it warns of every constant that it folds.
        wanted.log_severity_level = 3
        wanted.intra_op_num_threads = int(options.get("threads") or processors())
        for key, value in dict(options.get("session_config") or {}).items():
            wanted.add_session_config_entry(str(key), str(value))
        self._refusal = onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument
        try:
            self._session = onnxruntime.InferenceSession(path, wanted, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelFileError("onnxruntime does not load the model: %s" % _line(error)) from error
        self.inputs = tuple(_port(each, "input") for each in self._session.get_inputs())
        self.outputs = tuple(_port(each, "output") for each in self._session.get_outputs())

    @property
    def has_dynamic_batch(self) -> bool:
        """Whether every input and output may be of any length in its first dimension."""
        return all(port.shape[:1] == (-1,) for port in (*self.inputs, *self.outputs))

    def check(self, given: Mapping[str, Any], datatypes: Mapping[str, str]) -> dict[str, Any]:
        """Return the arrays as the model takes them; raises `TensorError` for what does not fit."""
        return check(self.inputs, given, datatypes)

    def select(self, asked: Sequence[str] | None) -> list[str]:
        """Return the names of the outputs that are asked for, which are all where none is; raises `TensorError`."""
        return select(self.outputs, asked)

    def run(self, names: Sequence[str], arrays: Mapping[str, Any]) -> list[Any]:
        """Return the outputs of these names; raises `TensorError` for values that the model refuses."""
        try:
            values = self._session.run(list(names), dict(arrays))
        except self._refusal as error:
            raise TensorError("the model refuses these inputs: %s" % _line(error)) from None
        return [plain(value) for value in values]


def check(ports: Sequence[Port], given: Mapping[str, Any], datatypes: Mapping[str, str]) -> dict[str, Any]:
    """Return the arrays as a model with these inputs takes them; raises `TensorError`."""
    expected = {port.name: port for port in ports}
    for name in given:
        if name not in expected:
            raise TensorError("got an input %r, expected %s" % (name[:80], _listed(expected)))
    checked = {}
    for name, port in expected.items():
        if name not in given:
            raise TensorError("got no input %r, expected %s" % (name, _listed(expected)))
        if datatypes[name] != port.datatype:
            raise TensorError("input %r: got datatype %s, expected %s" % (name, datatypes[name], port.datatype))
        array = given[name]
        if not port.shape and array.shape == (1,):
            # Other servers of the protocol know no scalars, so clients send one value.
            array = array.reshape(())
        # Of an unknown rank onnxruntime says the same as of a scalar, and judges by itself what it gets.
        wanted = port.shape or array.shape
        if len(array.shape) != len(wanted) or any(w not in (-1, g) for w, g in zip(wanted, array.shape)):
            raise TensorError("input %r: got shape %s, expected %s" % (name, list(array.shape), list(wanted)))
        checked[name] = array
    return checked


def select(ports: Sequence[Port], asked: Sequence[str] | None) -> list[str]:
    """Return the names that are asked for, or all where none is; raises `TensorError` for one that is no output."""
    names = [port.name for port in ports]
    for name in asked or ():
        if name not in names:
            raise TensorError("got a request for the output %r, expected %s" % (name[:80], _listed(names)))
    return list(dict.fromkeys(asked)) if asked else names


def plain(value: Any) -> Any:
    """Return an output as one array: sequences of maps, as classifiers write them, as a row for each map."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        keys = sorted(value[0])
        return np.array([[row[key] for key in keys] for row in value], np.float32)
    if isinstance(value, list):
        if len({np.shape(part) for part in value}) != 1:
            raise TensorError("an output is a sequence of tensors of several shapes, which the protocol cannot carry")
        return np.stack(value)
    return np.asarray(value)


def processors() -> int:
    """Return how many threads can run at once: fewer than processors where a container is limited to less."""
    allowed = len(os.sched_getaffinity(0))
    try:
        with open(_CGROUP, encoding="ascii") as stream:
            quota, period = stream.read().split()
        # Control Group v2, "cpu.max": microseconds of processor in each period.
        return max(1, min(allowed, -(-int(quota) // int(period))))
    except (OSError, ValueError, ZeroDivisionError):
        return allowed


def _port(told: Any, role: str) -> Port:
    kind = told.type
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in told.shape or ())
    if role == "output" and kind.startswith("seq("):
        # One row for each map, or the tensors on top of each other.
        kind = "tensor(float)" if "map(" in kind else kind[len("seq(") : -1]
        shape = (-1, -1) if "map(" in told.type else (-1, *shape)
    element = kind[len("tensor(") : -1] if kind.startswith("tensor(") else ""
    if element not in DATATYPES:
        raise ModelFileError("the %s %r is %s, which the protocol cannot carry" % (role, told.name, told.type))
    return Port(told.name, DATATYPES[element], shape)


def _listed(names: Any) -> str:
    return ", ".join(repr(name) for name in names) or "none"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
