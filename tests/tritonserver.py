"""The real Triton, as far as it runs without a graphics card: what judges a model repository of ours.

The distribution ``nvidia-pytriton`` bundles ``tritonserver`` with the Python backend alone. ``pip install --no-deps
nvidia-pytriton`` is enough; `VARIABLE` names the program where it is in another environment. Tests are skipped by name
without it. It can be asked twice over: `judge` lets it read the configurations as they are, so that each model has to
fail for the want of its backend and nothing else; `standing_in` puts a Python program in the place of each backend, so that
models load, warm up and take requests.
"""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
from registries import free_port

from klever.steps.serving.servers.triton.schema import load_schema, parse_text, write_text

VARIABLE: Final = "KLEVER_TRITONSERVER"
#: What the server says of a model whose configuration it has accepted and whose backend is not there.
NO_BACKEND: Final = "unable to find backend library for backend"
STARTED_SECONDS: Final = 60.0
_QUIET: Final = ("--allow-grpc=false", "--allow-metrics=false", "--disable-auto-complete-config")
_POLLED: Final = re.compile(r"Poll failed for model directory '(?P<name>[^']*)': (?P<why>.*)\"$", re.MULTILINE)
_LOADED: Final = re.compile(r"failed to load '(?P<name>[^']*)' version 1: (?P<why>.*)\"$", re.MULTILINE)
#: A request of this id is answered by `REACHED`, which no fault says that is found before a backend is asked.
ASKED: Final = "asked"
REACHED: Final = "the stand-in was reached"
#: Warm-ups get zeros: an error there ends the server.
_MODEL: Final = f"""
import json

import numpy
import triton_python_backend_utils as backend


class TritonPythonModel:
    def initialize(self, arguments):
        config = json.loads(arguments["model_config"])
        self.outputs = []
        for output in config["output"]:
            own = output.get("reshape", {{}}).get("shape") if "reshape" in output else output["dims"]
            shape = [1] * (config["max_batch_size"] > 0) + [abs(int(size)) for size in own or []]
            zeros = numpy.zeros(shape, backend.triton_string_to_numpy(output["data_type"]))
            self.outputs.append(backend.Tensor(output["name"], zeros))

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        if request.request_id() == {ASKED!r}:
            return backend.InferenceResponse([], backend.TritonError({REACHED!r}))
        return backend.InferenceResponse(self.outputs)
"""


def find_program() -> Path | None:
    """Return the server's program."""
    candidates = [os.environ.get(VARIABLE), shutil.which("tritonserver")]
    package = find_spec("pytriton")
    candidates += (
        [f"{folder}/tritonserver/bin/tritonserver" for folder in package.submodule_search_locations or ()]
        if package
        else []
    )
    return next((Path(path) for path in candidates if path and os.access(path, os.X_OK)), None)


@pytest.fixture(scope="session")
def tritonserver() -> Path:
    """The program, or the test is skipped; in a CI run it fails."""
    program = find_program()
    if program is None:
        lacking = f"the tritonserver that nvidia-pytriton bundles (name it in {VARIABLE})"
        if os.environ.get("CI"):
            pytest.fail(f"a CI run has to have {lacking}")
        pytest.skip(f"needs {lacking}")
    return program


def judge(program: Path, directory: Path, models: Mapping[str, Mapping[str, bytes]]) -> dict[str, str]:
    """Let the server read models' directories, given as their texts; return what it has against each of them."""
    write_models(directory, models)
    command = [str(program), f"--model-repository={directory}", "--allow-http=false", *_QUIET]
    done = subprocess.run(command, capture_output=True, text=True, timeout=STARTED_SECONDS, env=_variables(program))
    log = done.stdout + done.stderr
    found = {match["name"]: match["why"] for pattern in (_POLLED, _LOADED) for match in pattern.finditer(log)}
    assert set(found) == set(models), log[-4000:]
    return found


@contextmanager
def standing_in(program: Path, directory: Path, models: Mapping[str, Mapping[str, bytes]]) -> Iterator[str]:
    """Serve models by stand-ins, all of which have to load; give the address of its HTTP."""
    stub, library = _stub(program)
    backends = directory / "backends" / "python"
    shutil.copytree(program.parents[1] / "backends" / "python", backends)
    shutil.copy2(stub, backends)
    standing = {name: {**texts, "config.pbtxt": _for_python(texts["config.pbtxt"])} for name, texts in models.items()}
    repository = directory / "repository"
    write_models(repository, standing)
    for name in models:
        (repository / name / "1" / "model.py").write_text(_MODEL)
    port = free_port()
    command = [
        *(str(program), f"--model-repository={repository}", f"--backend-directory={backends.parent}"),
        *("--http-address=127.0.0.1", f"--http-port={port}", "--exit-timeout-secs=1", *_QUIET),
    ]
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=_variables(program, library))
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(STARTED_SECONDS)


def write_models(directory: Path, models: Mapping[str, Mapping[str, bytes]]) -> None:
    """Write the generated files of models; what the artifact holds is not missed before a backend loads it."""
    for name, texts in models.items():
        (directory / name / "1").mkdir(parents=True)
        for path, text in texts.items():
            (directory / name / path).write_bytes(text)


def _for_python(text: bytes) -> bytes:
    """Return a configuration with another backend, without what only its own backend or machine has."""
    config = parse_text(text)
    config.backend, config.platform, config.default_model_filename = "python", "", ""
    for group in config.instance_group:
        group.kind = load_schema().ModelInstanceGroup.KIND_CPU
    return write_text(config)


def _variables(program: Path, *libraries: Path) -> dict[str, str]:
    bundled = program.parents[3] / "nvidia_pytriton.libs"
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, (bundled, *libraries))),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("site-packages")),
    }


def _stub(program: Path) -> tuple[Path, Path]:
    """Return the program that runs models on this Python, and where this Python's library is."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = program.parents[1] / "python_backend_stubs" / version / "triton_python_backend_stub"
    folder = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib")
    for library in (f"libpython{version}.so.1.0", str(folder / f"libpython{version}.so.1.0")):
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        if stub.is_file():
            return stub, folder
    pytest.skip(f"needs libpython{version}.so.1.0 and a stub of the Python backend for it")


def _wait_until_ready(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    deadline = time.monotonic() + STARTED_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/v2/health/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"tritonserver did not start: {log.read_text()[-4000:]}")
