"""MLServer's runtime for ONNX models: onnxruntime, with names, types and shapes from the model's file.

``model-settings.json`` names it as ``serve_onnx.OnnxModel``. Of ``parameters.extra`` it takes ``threads`` (within one
run), ``instances`` (runs at once), ``max_batch`` with ``queue_delay`` (rows, microseconds), and ``session_config``
(onnxruntime's own entries). What does not belong here: what is done to tensors, which does not need MLServer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlserver import MLModel
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor, ResponseOutput, TensorData
from mlserver.utils import get_model_uri
from serve_batches import Batcher
from serve_rest import ArrayRequest
from serve_session import Port, Session
from serve_tensors import TensorError, datatype_of, from_values, to_values


class OnnxModel(MLModel):
    """An ONNX model behind MLServer's REST and gRPC."""

    _threads: ThreadPoolExecutor | None = None

    async def load(self) -> bool:
        """Load the model, and tell what it takes and gives."""
        path = await get_model_uri(self.settings)
        told = self.settings.parameters
        extra = dict(told.extra or {}) if told else {}
        self._session = Session(path, extra)
        self._threads = ThreadPoolExecutor(max_workers=int(extra.get("instances") or 1), thread_name_prefix="onnx")
        self.inputs = [_metadata(port) for port in self._session.inputs]
        self.outputs = [_metadata(port) for port in self._session.outputs]
        self._answer: Any = self._run
        rows, delay = int(extra.get("max_batch") or 0), float(extra.get("queue_delay") or 0)
        if rows > 1 and delay > 0 and self._session.has_dynamic_batch:
            self._answer = Batcher(self._run, rows, delay / 1e6)
        return True

    async def unload(self) -> bool:
        """Let go of the model."""
        if self._threads:
            self._threads.shutdown(wait=False)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request; `InferenceError`, which clients see as 400, says what does not fit."""
        try:
            given, datatypes = _given(payload)
            arrays = self._session.check(given, datatypes)
            names = self._session.select([each.name for each in payload.outputs or ()])
            values = await self._answer(names, arrays)
            as_arrays = isinstance(payload, ArrayRequest)
            outputs = [_output(name, value, as_arrays) for name, value in zip(names, values)]
        except TensorError as error:
            raise InferenceError(str(error)) from None
        return InferenceResponse.model_construct(model_name=self.name, model_version=self.version, outputs=outputs)

    async def _run(self, names: Sequence[str], arrays: Mapping[str, Any]) -> list[Any]:
        # Other requests, and probes, are answered meanwhile.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._session.run, names, arrays)


def _given(payload: InferenceRequest) -> tuple[dict[str, Any], dict[str, str]]:
    arrays: dict[str, Any] = {}
    datatypes: dict[str, str] = {}
    for each in payload.inputs:
        if each.name in arrays:
            raise TensorError("got the input %r twice" % each.name[:80])
        datatype = getattr(each.datatype, "value", each.datatype)
        data = getattr(each.data, "root", each.data)
        arrays[each.name] = from_values(each.name, datatype, each.shape, data)
        datatypes[each.name] = datatype
    return arrays, datatypes


def _output(name: str, value: Any, as_array: bool) -> ResponseOutput:
    datatype = datatype_of(value)
    data = value.ravel() if as_array and datatype != "BYTES" else to_values(value)
    shape = [int(size) for size in value.shape]
    return ResponseOutput.model_construct(
        name=name, shape=shape, datatype=datatype, data=TensorData.model_construct(root=data)
    )


def _metadata(port: Port) -> MetadataTensor:
    return MetadataTensor(name=port.name, datatype=port.datatype, shape=list(port.shape))
