"""MLServer as it is started: what its directory holds is served, by JSON and by bytes, and what does not fit refused."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
import pytest
from corpus import corpus

from klever.steps.environments import environment
from klever.steps.environments.locate import find_interpreter
from klever.steps.environments.process import PROGRAMS
from klever.steps.extract import extract
from klever.steps.files import LocalFiles
from klever.steps.model.signature import Signature
from klever.steps.proof.arrays import load
from klever.steps.recognise import recognise
from klever.steps.serving.datatypes import datatype_of, dtype_of
from klever.steps.serving.servers.interface import ServedModel, Tuning
from klever.steps.serving.servers.mlserver import SERVER

MODELS = Path(__file__).parents[2] / "models"
#: What a start of MLServer takes on a machine that does a lot else, in seconds.
READY_SECONDS = 180.0

pytestmark = pytest.mark.environment("serve-mlserver")


@dataclass
class Running:
    """A server with one model."""

    url: str
    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as answer:
            return json.load(answer)

    def post(self, body: bytes, **headers: str) -> tuple[int, bytes, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{self.url}/v2/models/{self.name}/infer", body, named)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read(), refusal.headers

    def infer(self, arrays: dict[str, Any], outputs: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the outputs of a request in JSON."""
        code, body, _ = self.post(json.dumps(request_of(arrays, outputs)).encode())
        assert code == 200, body
        found = {}
        for each in json.loads(body)["outputs"]:
            found[each["name"]] = np.array(each["data"], dtype_of(each["datatype"])).reshape(each["shape"])
        return found


def request_of(arrays: dict[str, Any], outputs: tuple[str, ...] = ()) -> dict[str, Any]:
    inputs = []
    for name, array in arrays.items():
        datatype = datatype_of("object" if array.dtype.kind in "OU" else array.dtype.name)
        inputs.append({"name": name, "shape": array.shape, "datatype": datatype, "data": array.ravel().tolist()})
    return {"inputs": inputs} | ({"outputs": [{"name": name} for name in outputs]} if outputs else {})


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Lay a model out as its server says, and start the server as its process says."""
    with ExitStack() as held:
        yield lambda folder, **tuning: held.enter_context(_Serving(folder, tmp_path, Tuning(**tuning))).running


class _Serving:
    def __init__(self, folder: Path, directory: Path, tuning: Tuning) -> None:
        model = recognise(folder)
        metadata = extract(model).metadata
        signature = metadata.signature or Signature()
        served = ServedModel("it", model.format.id, model.files, model.claim, signature, metadata)
        layout, process = SERVER.layout(served, tuning), SERVER.process("it", tuning)
        assert isinstance(model.files, LocalFiles)
        contents = {to: model.files.paths[path].read_bytes() for to, path in layout.files.items()}
        for to, content in (contents | dict(layout.texts)).items():
            place = directory / "it" / to
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        with ExitStack() as listening:
            sockets = {name: listening.enter_context(socket.socket()) for name in process.ports}
            for each in sockets.values():
                each.bind(("127.0.0.1", 0))
            values = {name: str(each.getsockname()[1]) for name, each in sockets.items()}
        values |= {"host": "127.0.0.1", "directory": str(directory), "name": "it", "programs": str(PROGRAMS)}
        log = directory / "log"
        interpreter = str(find_interpreter(environment("serve-mlserver")))
        command = [interpreter, *(part.format(**values) for part in process.command[1:])]
        variables = {name: value.format(**values) for name, value in process.environment.items()}
        with log.open("wb") as output:
            started = subprocess.Popen(command, env=variables, cwd=directory, stdout=output, stderr=output)
        self.running = Running(f"http://127.0.0.1:{values['http']}", "it", started, log)
        self._ready = process.ready

    def __enter__(self) -> Self:
        until = time.monotonic() + READY_SECONDS
        while self.running.process.poll() is None and time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self.running.url}{self._ready}", timeout=5):
                    return self
            except OSError:
                time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.running.process.terminate()
        try:
            self.running.process.wait(60)
        except subprocess.TimeoutExpired:
            self.running.process.kill()
            self.running.process.wait(60)
            raise


@pytest.mark.corpus
@pytest.mark.parametrize(
    "package", [each for each in corpus("ONNX") if not each.name.startswith("bad_")], ids=lambda path: path.name
)
def test_an_onnx_model_predicts_what_its_oracle_does(package: Path, start: Start) -> None:
    running = start(package)
    computed = running.infer(load(package / "oracle/inputs.npz"))
    with np.load(package / "oracle/outputs.npz", allow_pickle=True) as archive:
        expected = {name: archive[name] for name in archive.files}
    assert computed.keys() == expected.keys()
    for name, values in expected.items():
        if values.dtype == object:
            assert computed[name].tolist() == values.tolist()
        else:
            np.testing.assert_allclose(computed[name], values, rtol=1e-4, atol=1e-5)


def test_a_served_model_tells_itself_answers_bytes_and_refuses_what_does_not_fit(start: Start) -> None:
    folder = MODELS / "ONNX/cnn_dynamic_dims/model"
    running = start(folder)
    told = running.get("/v2/models/it")
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3, -1, -1]}]
    assert told["outputs"] == [{"name": "prob", "datatype": "FP32", "shape": [-1, 5]}]

    array = np.random.default_rng(0).random((2, 3, 9, 7), np.float32)
    (expected,) = onnxruntime.InferenceSession(folder / "model.onnx").run(["prob"], {"x": array})
    np.testing.assert_allclose(running.infer({"x": array})["prob"], expected, rtol=1e-5)

    document = request_of({"x": array})
    tensor = document["inputs"][0]
    del tensor["data"]
    tensor["parameters"] = {"binary_data_size": array.nbytes}
    document["parameters"] = {"binary_data_output": True}
    head = json.dumps(document).encode()
    code, body, headers = running.post(head + array.tobytes(), Inference_Header_Content_Length=str(len(head)))
    assert code == 200, body
    length = int(headers["Inference-Header-Content-Length"])
    (output,) = json.loads(body[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": expected.nbytes}
    np.testing.assert_allclose(np.frombuffer(body[length:], "<f4").reshape(output["shape"]), expected, rtol=1e-5)

    refused = [
        ({"y": array}, (), "got an input 'y', expected 'x'"),
        ({"x": array.astype("float64")}, (), "got datatype FP64, expected FP32"),
        ({"x": array[0]}, (), "got shape [3, 9, 7], expected [-1, 3, -1, -1]"),
        ({"x": array}, ("z",), "output 'z', expected 'prob'"),
    ]
    for arrays, outputs, said in refused:
        code, body, _ = running.post(json.dumps(request_of(arrays, outputs)).encode())
        assert (code, said in json.loads(body)["error"]) == (400, True), body
    for broken in (b"", b"[]", b"{", b'{"inputs": 1}', b'{"inputs": [{"name": "x"}]}'):
        assert running.post(broken)[0] == 400
    assert running.post(head, Inference_Header_Content_Length="9" * 9)[0] == 400
    running.process.terminate()
    assert running.process.wait(60) == 0


def test_requests_that_come_together_are_answered_each_with_its_own(start: Start) -> None:
    running = start(MODELS / "ONNX/cnn_dynamic_dims/model", queue_delay=20_000, max_batch=8)
    arrays = [np.random.default_rng(n).random((1 + n % 3, 3, 8, 8), np.float32) for n in range(12)]
    alone = [running.infer({"x": each})["prob"] for each in arrays]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda each: running.infer({"x": each})["prob"], arrays))
    for first, second in zip(alone, together, strict=True):
        np.testing.assert_allclose(second, first, rtol=1e-5)


def test_a_file_that_does_not_load_ends_the_server_with_an_error(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    whole = (MODELS / "ONNX/cnn_dynamic_dims/model/model.onnx").read_bytes()
    # A graph whose operator is of no opset that there is.
    folder.joinpath("model.onnx").write_bytes(whole.replace(b"Conv", b"Kong"))
    running = start(folder)
    assert running.process.wait(READY_SECONDS) == 1
    assert "onnxruntime does not load the model" in running.log.read_text()


@pytest.mark.parametrize("tuning", [{}, {"queue_delay": 1000}], ids=["alone", "batched"])
def test_an_estimator_predicts_its_classes(tuning: dict[str, int], start: Start) -> None:
    running = start(MODELS / "SKLearn/rf_1_9/model", **tuning)
    answered = running.infer({"input": np.random.default_rng(0).random((4, 5))}, ("predict", "predict_proba"))
    assert answered["predict"].shape == (4, 1)
    np.testing.assert_allclose(answered["predict_proba"].sum(axis=1), 1.0)
    np.testing.assert_array_equal(answered["predict"].ravel(), answered["predict_proba"].argmax(axis=1))


@pytest.mark.parametrize("case", ["json_1_6_dart", "ubjson_1_6", "json_3_softmax", "ormb_sample"])
def test_a_booster_of_any_name_is_loaded_by_its_encoding(case: str, start: Start) -> None:
    folder = MODELS / "XGBoost" / case / "model"
    signature = extract(recognise(folder)).metadata.signature
    assert signature is not None
    assert signature.inputs is not None
    (given,) = signature.inputs
    assert given.shape is not None
    answered = start(folder).infer({given.name: np.zeros((2, *given.shape[1:]), np.float32)})
    first, second = answered["predict"]
    np.testing.assert_array_equal(first, second)
