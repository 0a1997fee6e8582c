"""Run an MXNet model in MXNet itself, for its proof; the request and reply are those of the folder's docstring.

Runs on Python 3.8 with MXNet 1.9.1, the last release of both that work together.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from arrays import load, save

#: Operators that call a function by a pointer or a name which the file gives.
_UNSAFE = ("Custom", "_CustomFunction", "_Native", "_NDArray", "_TensorRT")


def run(request: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Run the model once on the processor."""
    symbol_path, params_path = _files(request)
    with open(symbol_path, encoding="utf-8") as stream:
        text = stream.read()
    graph = json.loads(text)
    operators = {node.get("op") for node in graph.get("nodes", ())}
    unsafe = sorted(operators & set(_UNSAFE))
    if unsafe:
        return {"refused": "the network calls code by %s" % ", ".join(unsafe), "unsafe": True}

    progress(0.0, "starting MXNet")
    # oneDNN's softmax of SoftmaxOutput takes the last axis, where the operator's definition takes all but the first;
    # without oneDNN the fused RNN takes other inputs than it has.
    if operators & {"SoftmaxOutput", "Softmax"} and "RNN" not in operators:
        os.environ["MXNET_MKLDNN_ENABLED"] = "0"
    import mxnet as mx

    progress(0.2, "loading the model")
    # The file says whether a size of 0 means none or not known; `mxnet.util.set_np_shape`.
    mx.util.set_np_shape(any(graph.get("attrs", {}).get("is_np_shape", [None, 0])[1:]))
    # Upgrades what older versions wrote, by the version that the file states.
    symbol = mx.sym.load_json(text)
    saved = mx.nd.load(params_path) if params_path else {}
    if not isinstance(saved, dict):
        return {"refused": "the arrays of the parameters have no names"}
    params = {name.split(":", 1)[-1] if name[:4] in ("arg:", "aux:") else name: array for name, array in saved.items()}
    given = {name: mx.nd.array(array, dtype=array.dtype) for name, array in load(request["inputs"]).items()}
    arguments, auxiliary = _bound(mx, symbol, params, given)
    progress(0.5, "running the model")
    executor = symbol.bind(mx.cpu(), arguments, args_grad=None, grad_req="null", aux_states=auxiliary)
    values = executor.forward(is_train=False)
    names = symbol.list_outputs()
    save(request["outputs"], {name: value.asnumpy() for name, value in zip(names, values)})
    return {"runtime": "MXNet", "version": mx.__version__, "outputs": names}


def _files(request: dict[str, Any]) -> tuple[str, str | None]:
    """Return the paths of the symbol and of the parameters, if any."""
    symbols = [path for name, path in request["files"].items() if name.endswith(".json")]
    params = [path for path in request["files"].values() if path not in symbols]
    return symbols[0], params[0] if params else None


def _bound(
    mx: Any, symbol: Any, params: dict[str, Any], given: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments and the auxiliary states of the network, those that nobody gave made up.

    The labels of loss heads are arguments that do not matter to what is predicted, and so are zeros; so are states
    that a recurrent network begins with.
    """
    known = {name: array.shape for name, array in params.items()}
    known.update((name, array.shape) for name, array in given.items())
    names, aux_names = symbol.list_arguments(), symbol.list_auxiliary_states()
    stated = {name: shape for name, shape in known.items() if name in names}
    shapes, _, aux_shapes = symbol.infer_shape_partial(**stated)
    arguments = {}
    for name, shape in zip(names, shapes):
        array = given.get(name, params.get(name))
        arguments[name] = mx.nd.zeros(shape) if array is None else array
    auxiliary = {
        name: params[name] if name in params else mx.nd.zeros(shape) for name, shape in zip(aux_names, aux_shapes)
    }
    return arguments, auxiliary
