"""Environments of their own for the frameworks and tools that Klever is measured against."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_TODAY = ("tensorflow-cpu==2.21.0", "keras==3.15.1", "onnxruntime==1.31.1", "onnx==1.23.2")
#: The exporters that the frameworks themselves brought; both want a Python of their time.
_MXNET = ("mxnet==1.9.1", "numpy==1.23.5", "onnx==1.12.0", "protobuf==3.20.1")
_CAFFE2 = (
    "torch==1.8.1",
    "future==1.0.0",
    "numpy==1.23.5",
    "six==1.16.0",
    "pyyaml==6.0.2",
    "onnx==1.8.1",
    "protobuf==3.20.3",
)


def peer_python() -> str:
    """Return a Python with TensorFlow and onnxruntime, made on first use (1.5 GB)."""
    return _environment(".venv-peers", sys.executable, _TODAY)


def mxnet_python() -> str | None:
    """Return a Python 3.8 with MXNet and what its ONNX exporter needs (0.5 GB); None where there is no Python 3.8."""
    return _of_python_3_8(".venv-peer-mxnet", _MXNET)


def caffe2_python() -> str | None:
    """Return a Python 3.8 with Caffe2 and what its ONNX frontend needs (2 GB); None where there is no Python 3.8."""
    return _of_python_3_8(".venv-peer-caffe2", _CAFFE2)


def _of_python_3_8(folder: str, packages: tuple[str, ...]) -> str | None:
    given = os.environ.get("KLEVER_PYTHON_3_8")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for python in (given, "python3.8", *map(str, sorted(pyenv.glob("3.8.*/bin/python"), reverse=True))):
        # A name on the PATH may be a shim without its interpreter.
        if python and _starts(python):
            return _environment(folder, python, packages)
    return None


def _starts(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _environment(folder: str, base: str, packages: tuple[str, ...]) -> str:
    directory = ROOT / folder
    python = directory / "bin" / "python"
    if not (directory / ".ready").exists():
        subprocess.run([base, "-m", "venv", str(directory)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        (directory / ".ready").touch()
    return str(python)
