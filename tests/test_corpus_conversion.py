"""Every model of the larger corpus, converted as a user does, against what the original frameworks computed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from corpus import corpus

from klever.steps.conversions import Demands
from klever.steps.convert import convert
from klever.steps.converters.paths import find_paths
from klever.steps.converters.table import PAIRS
from klever.steps.model.certificate import Level
from klever.steps.stores import Stores

pytestmark = pytest.mark.corpus

#: What a result may differ from the framework's own: absolute and relative.
TOLERANCE, RECURRENT = (1e-4, 1e-3), (1e-3, 1e-3)
#: Auxiliary outputs that a NetDef names but its own runtime does not produce.
NOT_PRODUCED = {"_fc6_d_mask"}


def needs(source: str, target: str) -> list[str]:
    """Return the environments on the path that is taken."""
    return [pair.load().environment for pair in find_paths(PAIRS, source, target)[0] if pair.load().environment]


def cases(*sources: str) -> list[Any]:
    return [
        pytest.param(package, id=f"{source}-{package.name}")
        for source in sources
        for package in corpus(source)
        if not package.name.startswith("bad_") and (package / "oracle" / "outputs.npz").is_file()
    ]  # fmt: skip


def converted(package: Path, target: str, directory: Path) -> Path:
    convert(package, target, directory / "result", Stores(), demands=Demands(level=Level.NONE))
    return directory / "result" / "model"


def arrays(package: Path, kind: str) -> dict[str, np.ndarray]:
    with np.load(package / "oracle" / f"{kind}.npz") as stored:
        return {name: stored[name] for name in stored.files}


def by_name_or_place(names: list[str], values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the values under ``names``: frameworks that number their tensors give the same places other names."""
    if set(names) <= set(values):
        return {name: values[name] for name in names}
    return dict(zip(names, values.values(), strict=True))


def is_recurrent(package: Path) -> bool:
    return any(word in package.name for word in ("lstm", "gru", "rnn"))


# Those that a library converts are in the tests of their converters: each takes a start of its framework.
@pytest.mark.parametrize("package", cases("MXNetParams", "CaffeModel", "NetDef"))
def test_the_onnx_model_computes_what_the_framework_did(package: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = converted(package, "ONNX", tmp_path)
    path = folder / "model.onnx"
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path, load_external_data=False)
    assert not {each.name for each in model.graph.input} & {each.name for each in model.graph.initializer}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = by_name_or_place([each.name for each in session.get_inputs()], arrays(package, "inputs"))
    names = [each.name for each in session.get_outputs() if each.name not in NOT_PRODUCED]
    results = dict(zip(names, session.run(names, feed), strict=True))
    absolute, relative = RECURRENT if is_recurrent(package) else TOLERANCE
    expected = arrays(package, "outputs")
    assert len(results) == len(expected)
    for name, value in by_name_or_place(names, expected).items():
        assert results[name].shape == value.shape, name
        np.testing.assert_allclose(results[name], value, atol=absolute, rtol=relative, err_msg=name)


@pytest.mark.parametrize("package", cases("CaffeModel"))
def test_a_netdef_from_caffe_goes_on_to_onnx_alike(package: Path, tmp_path: Path) -> None:
    folder = converted(package, "NetDef", tmp_path)
    assert {path.name for path in folder.iterdir()} >= {"init_net.pb", "predict_net.pb"}
    onward = tmp_path / "onward"
    convert(tmp_path / "result", "ONNX", onward, Stores(), demands=Demands(level=Level.NONE))
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(onward / "model" / "model.onnx"))
    feed = by_name_or_place([each.name for each in session.get_inputs()], arrays(package, "inputs"))
    names = [each.name for each in session.get_outputs()]
    results = dict(zip(names, session.run(names, feed), strict=True))
    for name, value in by_name_or_place(names, arrays(package, "outputs")).items():
        np.testing.assert_allclose(results[name], value, atol=1e-4, rtol=1e-3, err_msg=name)


@pytest.mark.parametrize(
    ("form", "name", "target"),
    [
        pytest.param(form, name, target, marks=[pytest.mark.environment(each) for each in needs(form, target)])
        for form, name, target in (
            ("H5", "multi_io_keras3", "SavedModel"),
            ("H5", "multi_io_tf211", "ONNX"),
            ("SavedModel", "keras_cnn_tf211", "ONNX"),
            ("GraphDef", "cnn_two_outputs", "ONNX"),
            ("TorchScript", "two_in_two_out_traced_torch215", "ONNX"),
        )
    ],
)
def test_what_a_library_converts_is_compared_with_its_framework(
    form: str, name: str, target: str, shared: Path, tmp_path: Path
) -> None:
    made = convert(
        shared / "corpus" / form / name,
        target,
        tmp_path / "result",
        Stores(),
        demands=Demands(level=Level.COMPARED),
    )
    assert made.certificate.level is Level.COMPARED
    assert made.certificate.within_tolerance
    assert made.certificate.outputs


@pytest.mark.parametrize(
    ("form", "name"),
    [
        pytest.param(form, name, marks=[pytest.mark.environment(each) for each in needs(form, "ONNX")])
        for form, name in (("H5", "multi_io_tf211"), ("TorchScript", "two_in_two_out_traced_torch215"))
    ],
)
def test_a_library_writes_the_same_bytes_each_time(form: str, name: str, shared: Path, tmp_path: Path) -> None:
    written = [converted(shared / "corpus" / form / name, "ONNX", tmp_path / turn) for turn in ("once", "again")]
    first, second = ((folder / "model.onnx").read_bytes() for folder in written)
    assert first == second


REFUSED = [package for source in ("H5", "TorchScript", "ONNX") for package in corpus(source) if package.name.startswith("bad_")]  # fmt: skip


@pytest.mark.parametrize("package", REFUSED, ids=lambda package: package.name)
def test_what_must_not_be_loaded_is_refused_before_any_loader_sees_it(package: Path, tmp_path: Path) -> None:
    from klever.steps.errors import PermanentError

    target = "NetDef" if package.parent.name == "ONNX" else "ONNX"
    with pytest.raises(PermanentError) as refused:
        converted(package, target, tmp_path)
    assert refused.value.cause
    assert not (tmp_path / "result").exists()
    assert not [path for path in (Path("/tmp/PWNED_H5"), Path("/tmp/PWNED_PT")) if path.exists()]


def test_the_corpus_has_them_all(shared: Path) -> None:
    assert len(cases("MXNetParams", "CaffeModel", "NetDef")) == 26
