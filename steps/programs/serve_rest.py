"""The protocol's ``infer`` over HTTP for MLServer: tensors stay arrays, and may come and go as bytes.

MLServer takes JSON alone and looks at every number of it several times. This route stands before its own; it knows the
binary tensor data extension (``Inference-Header-Content-Length``), by which tritonclient sends and asks for tensors
unless told otherwise. What does not belong here: a model.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import orjson
from mlserver.errors import InferenceError, MLServerError
from mlserver.raw import pack
from mlserver.types import InferenceRequest, Parameters, RequestInput, RequestOutput, TensorData
from mlserver.utils import extract_headers, insert_headers
from serve_tensors import TensorError, from_raw, to_raw
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_HEADER_LENGTH = "Inference-Header-Content-Length"
#: Dimensions of a tensor; numpy has no more.
_MAX_RANK = 64
#: What a compressed request may become, in bytes.
_MAX_BYTES = 2 << 30
#: Answers a request for the model of that name and version.
Infer = Callable[[InferenceRequest, str, Any], Awaitable[Any]]


class ArrayRequest(InferenceRequest):
    """A request whose answer may hold arrays in the place of lists."""


def routes(infer: Infer) -> list[Route]:
    """Return the routes of ``infer``, for a model and for one of its versions."""

    async def answer(request: Request) -> Response:
        body = _inflated(await request.body(), request.headers.get("Content-Encoding", ""))
        try:
            payload, asked = read(body, request.headers.get(_HEADER_LENGTH))
        except TensorError as error:
            raise InferenceError(str(error)) from None
        insert_headers(payload, dict(request.headers))
        path = request.path_params
        answered = await infer(payload, path["model_name"], path.get("model_version"))
        headers = dict(extract_headers(answered) or {})
        content, json_length = render(answered, asked)
        if json_length is None:
            return Response(content, media_type="application/json", headers=headers)
        headers[_HEADER_LENGTH] = str(json_length)
        return Response(content, media_type="application/octet-stream", headers=headers)

    model = "/v2/models/{model_name}"
    paths = (f"{model}/infer", f"{model}/versions/{{model_version}}/infer")
    return [Route(path, answer, methods=["POST"]) for path in paths]


def read(body: bytes, json_length: str | None) -> tuple[ArrayRequest, Callable[[str], bool]]:
    """Return a request, and whether an output of a name is to come as bytes; raises `TensorError`."""
    document, rest = _split(body, json_length)
    parameters = _mapping(document.get("parameters"), "the parameters")
    inputs = []
    for given in _sequence(document.get("inputs"), "the inputs"):
        tensor, rest = _input(_mapping(given, "an input"), rest)
        inputs.append(tensor)
    if rest:
        raise TensorError("got %d bytes behind the last input, expected none" % len(rest))
    outputs, binary = [], {}
    for asked in _sequence(document.get("outputs") or [], "the outputs"):
        asked = _mapping(asked, "an output")
        name = _text(asked.get("name"), "an output's name")
        told = _mapping(asked.get("parameters"), "an output's parameters")
        if "binary_data" in told:
            binary[name] = bool(told["binary_data"])
        outputs.append(RequestOutput.model_construct(name=name, parameters=_parameters(told)))
    usual = bool(parameters.get("binary_data_output", False))
    identity = document.get("id")
    request = ArrayRequest.model_construct(
        id=None if identity is None else _text(identity, "the id"),
        parameters=_parameters(parameters),
        inputs=inputs,
        outputs=outputs or None,
    )
    return request, lambda name: binary.get(name, usual)


def render(answered: Any, as_bytes: Callable[[str], bool]) -> tuple[bytes, int | None]:
    """Return the body of an answer, and the length of the JSON in it where tensors follow as bytes."""
    outputs, raws = [], []
    for each in answered.outputs:
        datatype = getattr(each.datatype, "value", each.datatype)
        parameters = each.parameters.model_dump() if each.parameters else {}
        told = {"name": each.name, "shape": each.shape, "datatype": datatype}
        data = getattr(each.data, "root", each.data)
        if as_bytes(each.name):
            raws.append(to_raw(data) if isinstance(data, np.ndarray) else pack(each))
            parameters["binary_data_size"] = len(raws[-1])
        else:
            told["data"] = data
        outputs.append({**told, "parameters": parameters} if parameters else told)
    document = {"model_name": answered.model_name, "model_version": answered.model_version, "id": answered.id}
    document = {key: value for key, value in document.items() if value is not None}
    if answered.parameters and (parameters := answered.parameters.model_dump()):
        document["parameters"] = parameters
    document["outputs"] = outputs
    head = orjson.dumps(document, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join((head, *raws)), len(head)) if raws else (head, None)


def _split(body: bytes, json_length: str | None) -> tuple[dict[str, Any], bytes]:
    length = len(body)
    if json_length is not None:
        if not json_length.isdecimal() or int(json_length) > length:
            raise TensorError("got %s %r, expected no more than the body's %d" % (_HEADER_LENGTH, json_length, length))
        length = int(json_length)
    try:
        document = orjson.loads(memoryview(body)[:length])
    except orjson.JSONDecodeError as error:
        raise TensorError("the request is no JSON: %s" % error) from None
    return _mapping(document, "the request"), body[length:]


def _input(given: dict[str, Any], rest: bytes) -> tuple[RequestInput, bytes]:
    name = _text(given.get("name"), "an input's name")
    datatype = _text(given.get("datatype"), "the datatype of input %r" % name)
    shape = _sequence(given.get("shape"), "the shape of input %r" % name)
    if len(shape) > _MAX_RANK or any(type(size) is not int or not 0 <= size < 1 << 48 for size in shape):
        raise TensorError("input %r: got shape %s, expected sizes from 0 on" % (name, str(shape)[:60]))
    parameters = _mapping(given.get("parameters"), "the parameters of input %r" % name)
    size = parameters.pop("binary_data_size", None)
    if size is None:
        if "data" not in given:
            raise TensorError("input %r has neither data nor binary_data_size" % name)
        data = given["data"]
    else:
        if type(size) is not int or not 0 <= size <= len(rest):
            raise TensorError("input %r: got binary_data_size %s, expected up to %d" % (name, size, len(rest)))
        data = from_raw(name, datatype, shape, rest[:size])
        # Codecs of MLServer tell texts by their being in a list.
        data = data.ravel().tolist() if datatype == "BYTES" else data
        rest = rest[size:]
    tensor = RequestInput.model_construct(
        name=name,
        shape=shape,
        datatype=datatype,
        parameters=_parameters(parameters),
        data=TensorData.model_construct(root=data),
    )
    return tensor, rest


def _inflated(body: bytes, encoding: str) -> bytes:
    if not encoding or encoding == "identity":
        return body
    if encoding not in ("gzip", "deflate"):
        raise MLServerError("got Content-Encoding %s, expected gzip or deflate" % encoding[:40], 415)
    try:
        reader = zlib.decompressobj(31 if encoding == "gzip" else 15)
        inflated = reader.decompress(body, _MAX_BYTES)
    except (zlib.error, gzip.BadGzipFile):
        raise InferenceError("the body is not %s, as Content-Encoding says" % encoding) from None
    if reader.unconsumed_tail or not reader.eof:
        raise InferenceError("the body is cut short, or longer than %d bytes" % _MAX_BYTES)
    return inflated


def _parameters(told: dict[str, Any]) -> Parameters | None:
    return Parameters.model_construct(**told) if told else None


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if value is None and what != "the request":
        return {}
    if not isinstance(value, dict):
        raise TensorError("%s: got %s, expected an object" % (what, _shown(value)))
    return value


def _sequence(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise TensorError("%s: got %s, expected a list" % (what, _shown(value)))
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TensorError("%s: got %s, expected text" % (what, _shown(value)))
    return value


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)[:60]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        # Of a kind or an order of bytes that the encoder does not know.
        return value.tolist()
    raise TypeError(type(value).__name__)
