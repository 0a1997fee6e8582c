"""What the programs that serve do to tensors, requests and batches: no server, and onnxruntime as the tests have it."""

import asyncio
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from klever.steps.environments.process import PROGRAMS
from klever.steps.serving.datatypes import DATATYPES

MODELS = Path(__file__).parents[2] / "models" / "ONNX"
NAMES = ("serve_tensors", "serve_session", "serve_batches")


@pytest.fixture(scope="module")
def programs() -> Iterator[SimpleNamespace]:
    """The modules, which find each other by their bare names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROGRAMS))
        yield SimpleNamespace(**{name.removeprefix("serve_"): import_module(name) for name in NAMES})
    for name in NAMES:
        del sys.modules[name]


@pytest.fixture
def tensors(programs: SimpleNamespace) -> Any:
    return programs.tensors


@pytest.fixture
def session(programs: SimpleNamespace) -> Any:
    return programs.session


def refusal(tensors: ModuleType, *arguments: Any, raw: bool = False) -> str:
    """Return what is said of a tensor that does not fit."""
    with pytest.raises(tensors.TensorError) as caught:
        (tensors.from_raw if raw else tensors.from_values)("x", *arguments)
    return str(caught.value)


# ---------------------------------------------------------------- tensors
def test_the_programs_and_the_signatures_call_types_alike(tensors: Any) -> None:
    assert {datatype: dtype for dtype, datatype in DATATYPES.items() if datatype != "BF16"} == tensors.DTYPES


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("BOOL", [True, False]),
        ("UINT8", [0, 255]),
        ("INT8", [-128, 127]),
        ("INT64", [-(2**63), 2**63 - 1]),
        ("UINT64", [0, 2**64 - 1]),
        ("FP16", [0.5, -2.0]),
        ("FP32", [1, 0.25]),
        ("FP64", [1e300, -1e-300]),
        ("BYTES", ["", "añ\0b"]),
    ],
)
def test_values_survive_as_lists_and_as_bytes(tensors: Any, datatype: str, values: list[Any]) -> None:
    array = tensors.from_values("x", datatype, [2, 1], values)
    assert array.shape == (2, 1)
    assert tensors.datatype_of(array) == datatype
    told = [value.decode() if isinstance(value, bytes) else value for value in tensors.to_values(array)]
    assert told == values
    again = tensors.from_raw("x", datatype, [2, 1], tensors.to_raw(array))
    assert again.dtype == array.dtype
    assert again.tolist() == array.tolist()


def test_nested_lists_are_read_row_by_row(tensors: Any) -> None:
    assert tensors.from_values("x", "INT32", [2, 2], [[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert tensors.from_values("x", "BYTES", [2, 2], [["a", "b"], ["c", "d"]]).tolist() == [["a", "b"], ["c", "d"]]


def test_null_is_no_number_where_there_is_one(tensors: Any) -> None:
    assert math.isnan(tensors.from_values("x", "FP32", [2], [1.0, None])[1])
    assert "got a mixture, expected whole numbers" in refusal(tensors, "INT32", [2], [1, None])


def test_an_empty_tensor_is_of_its_type(tensors: Any) -> None:
    assert tensors.from_values("x", "INT64", [0, 3], []).dtype == "int64"
    assert tensors.from_raw("x", "BYTES", [0], b"").shape == (0,)


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "said"),
    [
        ("FP32", [3], [1.0, 2.0], "got 2 values, expected 3"),
        ("FP32", [2], ["1", "2"], "got text, expected numbers for FP32"),
        ("FP32", [2], [[1.0], [2.0, 3.0]], "not of one length"),
        ("INT32", [1], [1.5], "got numbers, expected whole numbers"),
        ("INT64", [2], [0, 2**64 - 1], "too large or too small for INT64"),
        ("INT8", [1], [128], "too large or too small for INT8"),
        ("UINT8", [1], [-1], "too large or too small for UINT8"),
        ("BOOL", [1], [1], "expected booleans"),
        ("INT64", [1], [True], "got booleans"),
        ("BYTES", [1], [7], "got '7', expected text"),
        ("BYTES", [1], [b"\xff"], "not UTF-8"),
        ("FP8", [1], [1.0], "got datatype 'FP8', expected one of BOOL"),
        ("FP32", [1], {"a": 1}, "expected numbers"),
    ],
)
def test_what_does_not_fit_is_told_with_what_was_expected(
    tensors: Any, datatype: str, shape: list[int], data: Any, said: str
) -> None:
    message = refusal(tensors, datatype, shape, data)
    assert said in message
    assert "'x'" in message


@pytest.mark.parametrize(
    ("datatype", "raw", "said"),
    [
        ("FP32", b"\0" * 7, "got 7 bytes, expected 8"),
        ("BYTES", b"\x09\0\0\0ab", "beyond the end"),
        ("BYTES", b"\x01\0", "beyond the end"),
        ("BYTES", b"\x01\0\0\0a", "got 1 values, expected 2"),
    ],
)
def test_bytes_that_do_not_fit_are_refused(tensors: Any, datatype: str, raw: bytes, said: str) -> None:
    assert said in refusal(tensors, datatype, [2], raw, raw=True)


# ---------------------------------------------------------------- models
def test_a_model_tells_its_own_names_types_and_shapes(session: Any) -> None:
    model = session.Session(str(MODELS / "dtypes_string_fp16_bool_scalar/model/model.onnx"), {})
    assert [(port.name, port.datatype, port.shape) for port in model.inputs] == [
        ("s", "BYTES", (-1,)),
        ("i", "INT64", (2,)),
        ("h", "FP16", (2,)),
        ("b", "BOOL", ()),
    ]
    assert not model.has_dynamic_batch
    assert session.Session(str(MODELS / "cnn_dynamic_dims/model/model.onnx"), {}).has_dynamic_batch


def test_external_data_are_found_beside_the_model(session: Any) -> None:
    model = session.Session(str(MODELS / "cnn_external_data/model/model.onnx"), {"threads": 1})
    (output,) = model.run(["prob"], {"x": np.zeros((1, 3, 6, 6), np.float32)})
    assert output.shape == (1, 5)


@pytest.mark.parametrize(
    "case", ["bad_truncated", "bad_missing_external_data", "bad_external_data_escape", "bad_absolute_external_data"]
)
def test_a_file_that_is_no_model_is_refused_in_one_sentence(session: Any, case: str) -> None:
    with pytest.raises(session.ModelFileError, match="does not load the model") as caught:
        session.Session(str(MODELS / case / "model/model.onnx"), {})
    assert "\n" not in str(caught.value)


def test_a_scalar_may_come_as_a_list_of_one(session: Any) -> None:
    port = session.Port("b", "BOOL", ())
    assert session.check([port], {"b": np.array([True])}, {"b": "BOOL"})["b"].shape == ()


@pytest.mark.parametrize(
    ("given", "datatype", "said"),
    [
        ({}, "FP32", "got no input 'x', expected 'x'"),
        ({"x": np.zeros((1, 3)), "y": np.zeros(1)}, "FP32", "got an input 'y', expected 'x'"),
        ({"x": np.zeros((1, 3))}, "FP64", "got datatype FP64, expected FP32"),
        ({"x": np.zeros((1, 4))}, "FP32", "got shape [1, 4], expected [-1, 3]"),
        ({"x": np.zeros(3)}, "FP32", "got shape [3], expected [-1, 3]"),
    ],
)
def test_a_request_is_held_against_what_the_model_takes(
    session: Any, tensors: Any, given: Mapping[str, Any], datatype: str, said: str
) -> None:
    ports = [session.Port("x", "FP32", (-1, 3))]
    with pytest.raises(tensors.TensorError) as caught:
        session.check(ports, given, dict.fromkeys(given, datatype))
    assert said in str(caught.value)


def test_outputs_are_those_that_are_asked_for(session: Any, tensors: Any) -> None:
    ports = [session.Port(name, "FP32", (-1,)) for name in "ab"]
    assert session.select(ports, []) == ["a", "b"]
    assert session.select(ports, ["b", "b"]) == ["b"]
    with pytest.raises(tensors.TensorError, match="the output 'c', expected 'a', 'b'"):
        session.select(ports, ["c"])


def test_what_the_model_refuses_is_the_requests_fault(session: Any, tensors: Any) -> None:
    model = session.Session(str(MODELS / "cnn_dynamic_dims/model/model.onnx"), {})
    with pytest.raises(tensors.TensorError, match="the model refuses these inputs"):
        model.run(["prob"], {"x": np.zeros((1, 4, 6, 6), np.float32)})


def test_a_classifiers_maps_are_a_row_each(session: Any) -> None:
    assert session.plain([{1: 0.25, 0: 0.75}, {1: 1.0, 0: 0.0}]).tolist() == [[0.75, 0.25], [0.0, 1.0]]


def test_threads_are_no_more_than_a_container_may_use(
    session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(session, "_CGROUP", str(quota))
    monkeypatch.setattr(session.os, "sched_getaffinity", lambda _: set(range(8)))
    for text, expected in (("max 100000\n", 8), ("150000 100000\n", 2), ("10000 100000\n", 1), ("", 8)):
        quota.write_text(text)
        assert session.processors() == expected


# ---------------------------------------------------------------- batches
class Rows:
    """Doubles what it gets, and notes how many rows came at once; refuses a negative number."""

    def __init__(self) -> None:
        self.runs: list[int] = []

    async def __call__(self, names: Sequence[str], arrays: Mapping[str, Any]) -> list[Any]:
        await asyncio.sleep(0)
        if (arrays["x"] < 0).any():
            raise ValueError("negative")
        self.runs.append(len(arrays["x"]))
        return [arrays["x"] * 2 for _ in names]


def together(batcher: Any, *requests: Any, names: Sequence[str] = ("y",)) -> list[Any]:
    """Ask for all at once, and return outputs or errors in their order."""

    async def ask() -> list[Any]:
        return await asyncio.gather(*(batcher(names, {"x": each}) for each in requests), return_exceptions=True)

    return asyncio.run(ask())


def test_requests_that_are_alike_run_as_one_and_each_gets_its_rows(programs: SimpleNamespace) -> None:
    rows = Rows()
    answers = together(programs.batches.Batcher(rows, 8, 0.01), *(np.full((n, 2), n) for n in (1, 2, 3)))
    assert rows.runs == [6]
    for n, (answer,) in enumerate(answers, 1):
        assert answer.tolist() == np.full((n, 2), 2 * n).tolist()


def test_a_batch_is_no_larger_than_its_limit(programs: SimpleNamespace) -> None:
    rows = Rows()
    together(programs.batches.Batcher(rows, 4, 0.01), *(np.zeros((3, 1)) for _ in range(3)), np.zeros((9, 1)))
    assert sorted(rows.runs) == [3, 3, 3, 9]


def test_a_full_batch_waits_for_nobody(programs: SimpleNamespace) -> None:
    rows = Rows()
    together(programs.batches.Batcher(rows, 2, 3600.0), np.zeros((1, 1)), np.zeros((1, 1)))
    assert rows.runs == [2]


def test_other_shapes_and_types_make_other_batches(programs: SimpleNamespace) -> None:
    rows = Rows()
    requests = [np.zeros((1, 2, 8)), np.zeros((1, 4, 4)), np.zeros((1, 4, 4), np.float32), np.zeros((1, 2, 8))]
    answers = together(programs.batches.Batcher(rows, 8, 0.01), *requests)
    assert [answer[0].shape for answer in answers] == [each.shape for each in requests]
    assert sorted(rows.runs) == [1, 1, 2]


def test_a_request_that_fails_fails_alone(programs: SimpleNamespace) -> None:
    rows = Rows()
    good, bad = np.ones((1, 1)), -np.ones((1, 1))
    first, failed, last = together(programs.batches.Batcher(rows, 8, 0.01), good, bad, good)
    assert isinstance(failed, ValueError)
    assert first[0].tolist() == last[0].tolist() == [[2.0]]


def test_a_model_whose_first_dimension_counts_no_rows_is_asked_one_by_one(programs: SimpleNamespace) -> None:
    async def total(names: Sequence[str], arrays: Mapping[str, Any]) -> list[Any]:
        return [arrays["x"].sum(axis=0, keepdims=True) for _ in names]

    answers = together(programs.batches.Batcher(total, 8, 0.01), np.full((1, 1), 1.0), np.full((2, 1), 2.0))
    assert [answer[0].tolist() for answer in answers] == [[[1.0]], [[4.0]]]
