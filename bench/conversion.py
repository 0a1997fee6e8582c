"""Conversions against the exporters that the frameworks brought themselves: how many are right, and how fast."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from figures import memory, note, ratio
from inputs import write_large_caffe, write_large_mxnet
from measure import measure
from peers import ROOT, caffe2_python, mxnet_python

KLEVER = str(Path(sys.executable).with_name("klever"))
CORPUS = ROOT.parent / "shared" / "corpus"
#: What a result may differ from the recorded outputs of the framework: absolute, and relative.
TOLERANCE = (1e-4, 1e-3)

_MXNET_EXPORT = """
import glob, json, sys, numpy as np, mxnet as mx
folder, oracle, target = sys.argv[1:]
symbol, params = glob.glob(folder + "/*-symbol.json")[0], glob.glob(folder + "/*.params")[0]
inputs = json.load(open(oracle + "/meta.json"))["inputs"]
shapes = [tuple(shape) for shape, _ in inputs.values()]
mx.onnx.export_model(symbol, params, shapes, [np.dtype(kind).type for _, kind in inputs.values()], target)
"""
_CAFFE2_EXPORT = """
import json, sys, onnx
from caffe2.proto import caffe2_pb2
from caffe2.python.onnx import frontend
folder, oracle, target = sys.argv[1:]
def load(name):
    net = caffe2_pb2.NetDef()
    net.ParseFromString(open(folder + "/" + name, "rb").read())
    return net
kinds = {"float32": onnx.TensorProto.FLOAT, "int32": onnx.TensorProto.INT32, "int64": onnx.TensorProto.INT64}
inputs = json.load(open(oracle + "/meta.json"))["inputs"]
known = {name: (kinds[kind], shape) for name, (shape, kind) in inputs.items()}
onnx.save(frontend.caffe2_net_to_onnx_model(load("predict_net.pb"), load("init_net.pb"), known), target)
"""
#: Prints whether the model computes what the framework did.
_JUDGE = """
import sys, numpy as np, onnxruntime
path, oracle, absolute, relative = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
session = onnxruntime.InferenceSession(path)
inputs, outputs = np.load(oracle + "/inputs.npz"), np.load(oracle + "/outputs.npz")
ours = [each.name for each in session.get_inputs()]
feed = {name: inputs[name if name in inputs.files else given] for name, given in zip(ours, inputs.files)}
results = session.run(None, feed)
names = [each.name for each in session.get_outputs()]
for position, name in enumerate(outputs.files):
    result = results[names.index(name) if name in names else position]
    np.testing.assert_allclose(result, outputs[name], atol=absolute, rtol=relative)
"""


@dataclass(frozen=True)
class _Peer:
    """An exporter of another project."""

    name: str
    form: str
    python: str
    script: str


def bench_conversion(work: Path, judge: str) -> None:
    """Measure conversions; ``judge`` is a Python with onnxruntime."""
    peers = (
        ("MXNet 1.9.1's exporter", "MXNetParams", mxnet_python(), _MXNET_EXPORT),
        ("Caffe2's frontend (torch 1.8.1)", "NetDef", caffe2_python(), _CAFFE2_EXPORT),
    )
    for name, form, python, script in peers:
        if python is None:
            print(f"{name}: skipped, there is no Python 3.8 (KLEVER_PYTHON_3_8)")
        elif not CORPUS.is_dir():
            print(f"{name}: skipped, the corpus is not beside the repository")
        else:
            _bench_exporter(work, judge, _Peer(name, form, python, script))
    _bench_large(work)
    _bench_keras(work)


def _bench_exporter(work: Path, judge: str, peer: _Peer) -> None:
    models = sorted(path for path in (CORPUS / peer.form).iterdir() if (path / "oracle/outputs.npz").is_file())
    right = {"ours": 0, "theirs": 0}
    seconds = {"ours": 0.0, "theirs": 0.0}
    for model in models:
        target = work / "converted"
        theirs = work / "theirs.onnx"
        ours = [
            KLEVER,
            "convert",
            str(model),
            "--to",
            "ONNX",
            "--output",
            str(target),
            "--require",
            "none",
            "--again",
            "--force",
        ]
        command = [peer.python, "-c", peer.script, str(model / "model"), str(model / "oracle"), str(theirs)]
        figures = {}
        for side, line, result in (("ours", ours, target / "model"), ("theirs", command, theirs)):
            _forget(target, theirs)
            try:
                figures[side] = measure(line, runs=3).seconds
            except SystemExit:
                continue
            path = next(result.glob("*.onnx")) if result.is_dir() else result
            right[side] += _is_right(judge, path, model / "oracle")
        # Whom the other's failures would make look fast is compared on the same models alone.
        if len(figures) == 2:
            for side, figure in figures.items():
                seconds[side] += figure
    _forget(work / "converted", work / "theirs.onnx")
    print(f"  {peer.name}: {right['theirs']} of {len(models)} models right")
    note(f"convert {peer.form} to ONNX: models right, of {len(models)}", right["ours"], len(models), "", at_least=True)
    ratio(f"convert {peer.form} to ONNX / {peer.name}, cold processes", seconds["ours"], seconds["theirs"], 1)


def _forget(*paths: Path) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _is_right(judge: str, path: Path, oracle: Path) -> bool:
    command = [judge, "-c", _JUDGE, str(path), str(oracle), *map(str, TOLERANCE)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _bench_large(work: Path) -> None:
    for form, target, write in (
        ("MXNetParams", "ONNX", write_large_mxnet),
        ("CaffeModel", "NetDef", write_large_caffe),
        ("CaffeModel", "ONNX", None),
    ):
        folder = work / form
        if write is not None:
            size = write(folder / "model")
        output = work / "converted"
        command = [KLEVER, "convert", str(folder), "--to", target, "--output", str(output), "--require", "none"]
        ours = measure([*command, "--again", "--force"], runs=3)
        label = f"convert {size / 1e6:.0f} MB of {form} to {target}"
        note(label, ours.seconds, 5, "s")
        memory(label, ours, 2 * size / 1e6)
        shutil.rmtree(output)


#: The same model, loaded and exported by hand.
_BARE = "import tensorflow, keras; keras.saving.load_model({0!r}, compile=False).export({1!r})"


def _bench_keras(work: Path) -> None:
    """Measure H5 to SavedModel against the same calls in a bare Python of the same environment."""
    from klever.steps.environments import environment, find_interpreter
    from klever.steps.environments.create import create

    create(environment("convert-tensorflow"))
    python = str(find_interpreter(environment("convert-tensorflow")))
    path = next((ROOT / "tests/models/H5/sequential_keras3/model").glob("*.h5"))
    output = work / "converted"
    ours = measure(
        [
            KLEVER,
            "convert",
            str(path),
            "--to",
            "SavedModel",
            "--output",
            str(output),
            "--require",
            "none",
            "--again",
            "--force",
        ],
        runs=5,
    )
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    bare = measure([python, "-c", _BARE.format(str(path), str(work / "bare"))], runs=5, env=quiet)
    ratio("convert H5 to SavedModel / bare import, load, export", ours.seconds, bare.seconds, 1.2)
    _forget(output, work / "bare")
