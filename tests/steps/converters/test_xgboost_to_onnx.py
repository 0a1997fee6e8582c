"""Boosters of four versions in three encodings give what XGBoost gave: ``tests/oracles/xgboost_models.py``."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from klever.steps.converters.interface import Options, SourceModel
from klever.steps.converters.xgboost_to_onnx import CONVERTER
from klever.steps.errors import LimitExceededError, ModelError, UnsupportedOperatorsError
from klever.steps.files import LocalFiles, MemoryFiles
from klever.steps.formats.interface import Claim, Evidence
from klever.steps.formats.xgboost.reader import read_booster
from klever.steps.model.signature import Signature, Tensor

FOLDER = Path(__file__).parent / "xgboost"
BOOSTERS = sorted(path for path in FOLDER.iterdir() if path.suffix != ".npz")


def source_of(path: Path) -> SourceModel:
    files = LocalFiles({"model": path})
    return SourceModel(files, Claim(Evidence.CONTENT, ("model",)), read_booster(files, "model").signature)


def written(document: Any, path: Path) -> SourceModel:
    path.write_text(json.dumps(document))
    return source_of(path)


@pytest.fixture
def small() -> Any:
    """One booster of one tree: ``x[1] < 0.5`` gives 1, else 2; missing goes right."""
    tree = {
        "base_weights": [0.0, 1.0, 2.0], "categories": [], "categories_nodes": [], "categories_segments": [],
        "categories_sizes": [], "default_left": [0, 0, 0], "left_children": [1, -1, -1], "right_children": [2, -1, -1],
        "split_conditions": [0.5, 1.0, 2.0], "split_indices": [1, 0, 0], "split_type": [0, 0, 0],
        "tree_param": {"num_nodes": "3", "size_leaf_vector": "1"},
    }  # fmt: skip
    return {
        "learner": {
            "attributes": {},
            "gradient_booster": {
                "model": {"gbtree_model_param": {"num_trees": "1"}, "tree_info": [0], "trees": [tree]},
                "name": "gbtree",
            },
            "learner_model_param": {"base_score": "0", "num_class": "0", "num_feature": "2", "num_target": "1"},
            "objective": {"name": "reg:squarederror"},
        },
        "version": [2, 1, 4],
    }


def trees(document: Any) -> Any:
    return document["learner"]["gradient_booster"]["model"]["trees"]


@pytest.mark.parametrize("path", BOOSTERS, ids=lambda path: path.name)
def test_a_booster_predicts_as_xgboost_does(path: Path, tmp_path: Path) -> None:
    CONVERTER.convert(source_of(path), Options(), tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    with np.load(FOLDER / f"{path.stem}.npz") as known:
        (made,) = ReferenceEvaluator(model).run(None, {"input-0": known["x"]})
        assert made.dtype == np.float32
        assert made.shape == known["predict"].shape
        np.testing.assert_allclose(made, known["predict"], rtol=1e-5, atol=1e-5)
    assert [each.name for each in model.graph.output] == ["predict"]


@pytest.mark.parametrize("opset", [13, 21])
def test_the_opset_and_the_batch_are_those_that_were_asked_for(opset: int, tmp_path: Path) -> None:
    CONVERTER.convert(source_of(FOLDER / "logistic-3.4.1.json"), Options(opset=opset, batch=5), tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": opset, "ai.onnx.ml": 3}
    assert [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim] == [5, 6]


def test_a_value_on_a_threshold_goes_right_and_a_missing_one_its_own_way(small: Any, tmp_path: Path) -> None:
    CONVERTER.convert(written(small, tmp_path / "m.json"), Options(), tmp_path)
    rows = np.array([[0, 0.5], [0, np.nextafter(np.float32(0.5), 0)], [0, np.nan]], np.float32)
    (made,) = ReferenceEvaluator(str(tmp_path / "model.onnx")).run(None, {"input-0": rows})
    assert made.tolist() == [2.0, 1.0, 2.0]


def test_categories_go_right_and_all_others_left(small: Any, tmp_path: Path) -> None:
    trees(small)[0] |= {
        "categories": [3, 5], "categories_nodes": [0], "categories_segments": [0], "categories_sizes": [2],
        "split_type": [1, 0, 0], "default_left": [1, 0, 0],
    }  # fmt: skip
    CONVERTER.convert(written(small, tmp_path / "m.json"), Options(), tmp_path)
    rows = np.array([[0, value] for value in (3, 5.9, 4, -1, 1000, np.nan)], np.float32)
    (made,) = ReferenceEvaluator(str(tmp_path / "model.onnx")).run(None, {"input-0": rows})
    assert made.tolist() == [2.0, 2.0, 1.0, 1.0, 1.0, 1.0]


def test_a_booster_without_trees_gives_its_base_score(small: Any, tmp_path: Path) -> None:
    small["learner"]["gradient_booster"]["model"] |= {"trees": [], "tree_info": []}
    small["learner"]["learner_model_param"]["base_score"] = "0.25"
    CONVERTER.convert(written(small, tmp_path / "m.json"), Options(), tmp_path)
    (made,) = ReferenceEvaluator(str(tmp_path / "model.onnx")).run(None, {"input-0": np.zeros((3, 2), np.float32)})
    assert made.tolist() == [0.25] * 3


def test_nodes_that_pruning_left_behind_are_left_out(small: Any, tmp_path: Path) -> None:
    trees(small)[0] |= {
        "left_children": [-1, -1, -1],
        "right_children": [-1, -1, -1],
        "split_conditions": [7.0, 1.0, 2.0],
    }
    CONVERTER.convert(written(small, tmp_path / "m.json"), Options(), tmp_path)
    (node,) = [each for each in onnx.load(tmp_path / "model.onnx").graph.node if each.domain]
    assert next(list(each.ints) for each in node.attribute if each.name == "nodes_nodeids") == [0]


def test_what_a_leaf_has_for_a_right_child_is_no_index(small: Any, tmp_path: Path) -> None:
    tree = trees(small)[0]
    leaves = [node for node, left in enumerate(tree["left_children"]) if left == -1]
    for node in leaves:
        tree["right_children"][node] = 2**31 - 1
    CONVERTER.convert(written(small, tmp_path / "model.json"), Options(), tmp_path)


def test_early_stopping_is_told(small: Any, tmp_path: Path) -> None:
    small["learner"]["attributes"] = {"best_iteration": "0"}
    small["learner"]["gradient_booster"]["model"] |= {"trees": trees(small) * 2, "tree_info": [0, 0]}
    (note,) = CONVERTER.convert(written(small, tmp_path / "m.json"), Options(), tmp_path).notes
    assert "all 2 rounds" in note


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("left_children", [3, -1, -1]),
        ("left_children", [0, -1, -1]),
        ("left_children", [1, 2, -1]),
        ("left_children", [1, -1]),
        ("split_indices", [9, 0, 0]),
        ("split_indices", "text"),
        ("split_conditions", [[0.5], [1], [2]]),
        ("default_left", [0, 1 << 70, 0]),
        ("split_type", [1, 0, 0]),
        ("categories_nodes", [0]),
        ("tree_param", {"size_leaf_vector": "2"}),
        ("tree_param", {"size_leaf_vector": "-1"}),
    ],
)
def test_a_tree_that_contradicts_itself_is_malformed(small: Any, key: str, value: Any, tmp_path: Path) -> None:
    trees(small)[0][key] = value
    with pytest.raises(ModelError):
        CONVERTER.convert(written(small, tmp_path / "m.json"), Options(), tmp_path)
    assert not (tmp_path / "model.onnx").exists()


def test_what_is_not_known_is_uncovered_by_name(small: Any, tmp_path: Path) -> None:
    small["learner"]["objective"]["name"] = "mine:own"
    model = written(small, tmp_path / "m.json")
    assert [each.operator for each in CONVERTER.survey(model, Options()).uncovered] == ["objective mine:own"]
    with pytest.raises(UnsupportedOperatorsError):
        CONVERTER.convert(model, Options(), tmp_path)


def test_half_precision_would_change_the_branches() -> None:
    survey = CONVERTER.survey(source_of(FOLDER / "dart-3.4.1.json"), Options(dtype="float16"))
    assert [each.operator for each in survey.uncovered] == ["gbtree in float16"]


@pytest.mark.parametrize("name", ["logistic-0.90.bin", "softmax-3.4.1.ubj", "dart-1.6.2.json"])
def test_a_model_cut_anywhere_is_a_typed_error(name: str, tmp_path: Path) -> None:
    data = (FOLDER / name).read_bytes()
    claim = Claim(Evidence.CONTENT, ("model",))
    signature = Signature(inputs=(Tensor(name="input-0", shape=(-1, 6)),), outputs=(Tensor(name="predict"),))
    for length in range(1, len(data) - 40, 53):
        with pytest.raises(ModelError):
            CONVERTER.convert(SourceModel(MemoryFiles({"model": data[:length]}), claim, signature), Options(), tmp_path)


def test_a_count_of_trees_beyond_the_file_is_an_error_at_once(tmp_path: Path) -> None:
    data = bytearray((FOLDER / "logistic-0.90.bin").read_bytes())
    trees_at = data.index(b"gbtree") + len(b"gbtree")
    struct.pack_into("<i", data, trees_at, (1 << 31) - 1)
    model = SourceModel(MemoryFiles({"model": bytes(data)}), Claim(Evidence.CONTENT, ("model",)), Signature())
    with pytest.raises(ModelError):
        CONVERTER.convert(model, Options(), tmp_path)


def test_the_limit_of_nodes_holds(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klever.steps.converters.xgboost_to_onnx.ensemble.MAX_NODES", 2)
    with pytest.raises(LimitExceededError):
        CONVERTER.convert(written(small, tmp_path / "m.json"), Options(), tmp_path)


@pytest.mark.parametrize(("key", "value"), [("num_feature", "999999999"), ("num_class", "999999999")])
def test_absurd_counts_are_refused_before_arrays_are_made(small: Any, key: str, value: str, tmp_path: Path) -> None:
    small["learner"]["learner_model_param"][key] = value
    with pytest.raises(LimitExceededError):
        CONVERTER.convert(written(small, tmp_path / "m.json"), Options(), tmp_path)
