"""Every layer with random attributes and shapes, against what Caffe itself and OpenCV compute.

The values were recorded by ``tests/oracles/caffe_layers.py``. What the NetDef computes is known by carrying it on to
ONNX; that Caffe2 computes the same is tested where its environment is.
"""

import base64
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from klever.steps.converters.caffemodel_to_netdef.layers import RULES
from klever.steps.environments import run as run_program
from klever.steps.formats.caffemodel.graph import DATA_TYPES

from .caffemodels import Array, Converted, blob, v2, values

HERE = Path(__file__).parent


def recorded(runtime: str) -> list[dict[str, Any]]:
    with lzma.open(HERE / f"{runtime}.json.xz") as stream:
        cases: list[dict[str, Any]] = json.load(stream)
    return cases


CASES = [*recorded("caffe"), *recorded("opencv")]


def converted(case: dict[str, Any], folder: Path) -> Converted:
    seed = case["seed"]
    weights = {
        name: [blob(values(f"{name}:{at}", *how, seed)) for at, how in enumerate(blobs)]
        for name, blobs in case["weights"].items()
    }
    return Converted(folder, case["net"], v2(weights))


def inputs(case: dict[str, Any]) -> dict[str, Array]:
    return {name: values(name, *how, case["seed"]) for name, how in case["inputs"].items()}


def check(case: dict[str, Any], got: dict[str, Any]) -> None:
    expected = {
        name: np.frombuffer(base64.b64decode(data), "<f4").reshape(shape)
        for name, (shape, data) in case["outputs"].items()
    }
    assert set(got) == set(expected)
    for name, array in expected.items():
        found = got[name]
        if case["layer"] == "DetectionOutput":
            array, found = detections(array), detections(found)
        assert found.shape == array.shape
        assert_allclose(found, array, rtol=1e-3, atol=1e-4)


def detections(rows: Array) -> Array:
    """Sort rows, as OpenCV orders them otherwise, and leave out what it fills up with."""
    rows = rows.reshape(-1, 7)
    rows = rows[rows[:, 2] > 0]
    return rows[np.lexsort(rows.round(3).T)]


@pytest.mark.parametrize("case", CASES, ids=[f"{case['layer']}-{case['seed']}" for case in CASES])
def test_a_layer_computes_what_caffe_computes(case: dict[str, Any], tmp_path: Path) -> None:
    check(case, converted(case, tmp_path).run(**inputs(case)))


def test_every_rule_is_compared_or_tested_by_name() -> None:
    by_name = (HERE / "test_caffemodel_to_netdef.py").read_text()
    compared = {kind for kind in RULES for case in CASES if f'type: "{kind}"' in case["net"]}
    named = {kind for kind in RULES if f'"{kind}"' in by_name}
    # A padding layer is of V0 alone, and named differently there.
    assert set(RULES) - compared - named == DATA_TYPES - {"Data", "DummyData"} | {"Padding"}


@pytest.mark.environment("prove-caffe2")
@pytest.mark.parametrize("kind", sorted({case["layer"] for case in CASES}))
def test_caffe2_itself_computes_what_caffe_computes(kind: str, tmp_path: Path) -> None:
    case = next(case for case in CASES if case["layer"] == kind)
    result = converted(case, tmp_path)
    np.savez(tmp_path / "inputs.npz", **inputs(case))
    files = {name: str(result.folder / name) for name in ("predict_net.pb", "init_net.pb")}
    request = {
        "files": files,
        "inputs": str(tmp_path / "inputs.npz"),
        "outputs": str(tmp_path / "outputs.npz"),
        "fetches": list(case["outputs"]),
    }
    run_program("prove-caffe2", "run_caffe2", request, lambda *_: None)
    with np.load(tmp_path / "outputs.npz") as outputs:
        check(case, dict(outputs))
