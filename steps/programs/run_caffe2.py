"""Run a Caffe2 model in Caffe2 itself, for its proof; the request and reply are those of the folder's docstring.

Runs on Python 3.8 with torch 1.8.1, the last release whose wheels hold Caffe2.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from arrays import load, save

#: Operators that run Python from the file, or read and write other files than the model's.
_UNSAFE = re.compile(
    r"^Python|^(Load|Save|Snapshot|Checkpoint|CreateDB|CreateMutex|ImageInput|VideoInput)$|DB|Store|Reader$"
)


def run(request: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Run the initialization and then the network once on the processor."""
    progress(0.0, "starting Caffe2")
    from caffe2.proto import caffe2_pb2
    from caffe2.python import workspace

    progress(0.2, "loading the model")
    # The net that predicts is claimed before the one that fills the weights; what is beside them is no net.
    paths = [path for name, path in request["files"].items() if not name.endswith(".json")]
    nets = predict, init = [_read(path, caffe2_pb2) for path in paths]
    unsafe = sorted({op.type for net in nets for op in net.op if _UNSAFE.search(op.type)})
    if unsafe:
        return {"refused": "the network runs code or uses files by %s" % ", ".join(unsafe), "unsafe": True}
    for net in nets:
        _to_processor(net)

    workspace.ResetWorkspace()
    workspace.RunNetOnce(init)
    for name, array in load(request["inputs"]).items():
        workspace.FeedBlob(name, array.astype(object) if array.dtype.kind in "US" else array)
    # Outputs that the network does not declare are kept because it is a simple net, which frees nothing.
    predict.type = "simple"
    progress(0.5, "running the model")
    workspace.RunNetOnce(predict)
    names = list(dict.fromkeys(request["fetches"])) or list(predict.external_output)
    names = [name for name in names if workspace.HasBlob(name)]
    save(request["outputs"], {name: workspace.FetchBlob(name) for name in names})
    return {"runtime": "Caffe2", "version": _version(), "outputs": names}


def _read(path: str, caffe2_pb2: Any) -> Any:
    """Read a net in protobuf's binary format or, as some are published, in its text format."""
    from google.protobuf import message, text_format

    with open(path, "rb") as stream:
        data = stream.read()
    net = caffe2_pb2.NetDef()
    try:
        net.ParseFromString(data)
    except message.DecodeError:
        net = text_format.Parse(data.decode("utf-8"), caffe2_pb2.NetDef())
    return net


def _to_processor(net: Any) -> None:
    """Forget devices and engines: models that were trained on graphics cards name theirs."""
    net.ClearField("device_option")
    for op in net.op:
        op.ClearField("device_option")
        if op.engine == "CUDNN":
            op.ClearField("engine")


def _version() -> str:
    import torch

    return "torch " + str(torch.__version__)
