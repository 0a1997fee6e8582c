"""An environment of its own for the frameworks that Klever is measured against."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_ENVIRONMENT = ROOT / ".venv-peers"
_PACKAGES = ("tensorflow-cpu==2.21.0", "keras==3.15.1", "onnxruntime==1.31.1", "onnx==1.23.2")


def peer_python() -> str:
    """Return a Python with TensorFlow and onnxruntime, made on first use (1.5 GB)."""
    python = _ENVIRONMENT / "bin" / "python"
    if not (_ENVIRONMENT / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(_ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *_PACKAGES], check=True)
        (_ENVIRONMENT / ".ready").touch()
    return str(python)
