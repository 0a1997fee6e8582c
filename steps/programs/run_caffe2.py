"""Run a Caffe2 model in Caffe2 itself, for its proof; the request and reply are those of the folder's docstring.

Runs on Python 3.8 with torch 1.8.1, the last release whose wheels hold Caffe2.
"""

import re

from arrays import load, save

#: Operators that run Python from the file, or read and write other files than the model's.
_UNSAFE = re.compile(r"^Python|^(Load|Save|Snapshot|Checkpoint|CreateDB|CreateMutex|ImageInput|VideoInput)$|DB|Store|Reader$")


def run(request, progress):
    """Run the initialization and then the network once on the processor."""
    progress(0.0, "starting Caffe2")
    from caffe2.proto import caffe2_pb2
    from caffe2.python import workspace

    progress(0.2, "loading the model")
    nets = []
    for path in _files(request):
        net = caffe2_pb2.NetDef()
        with open(path, "rb") as stream:
            net.ParseFromString(stream.read())
        nets.append(net)
    init, predict = nets
    unsafe = sorted({op.type for net in nets for op in net.op if _UNSAFE.search(op.type)})
    if unsafe:
        return {"refused": "the network runs code or uses files by %s" % ", ".join(unsafe), "unsafe": True}
    for net in nets:
        _to_processor(net, caffe2_pb2)

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


def _files(request):
    """Return the paths of the net that fills the weights and of the one that predicts."""
    named = sorted(request["files"].items(), key=lambda item: "predict" in item[0])
    return [path for _, path in named][:2]


def _to_processor(net, caffe2_pb2):
    """Forget devices and engines: models that were trained on graphics cards name theirs."""
    net.ClearField("device_option")
    for op in net.op:
        op.ClearField("device_option")
        if op.engine == "CUDNN":
            op.ClearField("engine")


def _version():
    import torch

    return "torch " + torch.__version__
