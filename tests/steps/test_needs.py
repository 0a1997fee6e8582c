"""What a pod asks for holds what was measured, grows with the model, and has a word for every runtime."""

import re

import pytest

from klever.steps.converters.table import PAIRS
from klever.steps.environments.table import ENVIRONMENTS
from klever.steps.needs import Needs, estimate
from klever.steps.proof.runners import RUNNERS, Runner
from klever.steps.quantities import mebibytes

MB, MIB = 10**6, 1 << 20
#: Converters, runners, MB of the model's files; measured MiB of resident memory and MB of temporary files.
MEASURED = [
    (["mxnetparams_to_onnx"], [], 16.8, 76, 33.6),
    (["mxnetparams_to_onnx"], [], 201.3, 75, 402.7),
    (["mxnetparams_to_onnx"], ["prove-mxnet", "prove-onnx"], 16.8, 236, 33.7),
    (["mxnetparams_to_onnx"], ["prove-mxnet", "prove-onnx"], 201.3, 589, 402.8),
    (["caffemodel_to_netdef"], ["prove-caffe", "prove-caffe2"], 16.8, 368, 33.6),
    (["caffemodel_to_netdef"], ["prove-caffe", "prove-caffe2"], 201.3, 1492, 402.7),
    (["caffemodel_to_netdef", "netdef_to_onnx"], ["prove-caffe", "prove-onnx"], 16.8, 170, 50.4),
    (["caffemodel_to_netdef", "netdef_to_onnx"], ["prove-caffe", "prove-onnx"], 201.3, 522, 604.1),
    (["netdef_to_onnx"], ["prove-caffe2", "prove-onnx"], 201.3, 1505, 402.9),
    (["h5_to_onnx"], [], 16.8, 1360, 50.4),
    (["h5_to_onnx"], [], 67.2, 3660, 201.5),
    (["h5_to_onnx"], [], 201.5, 11813, 604.4),
    (["h5_to_savedmodel"], ["convert-tensorflow"], 16.8, 627, 33.7),
    (["h5_to_savedmodel"], [], 67.2, 917, 134.3),
    (["torchscript_to_onnx"], ["convert-torch", "prove-onnx"], 16.8, 653, 33.7),
    (["torchscript_to_onnx"], ["convert-torch", "prove-onnx"], 201.5, 1377, 403.0),
    (["sklearn_to_onnx"], ["convert-sklearn", "prove-onnx"], 5.9, 350, 9.8),
    (["sklearn_to_onnx"], ["convert-sklearn", "prove-onnx"], 29.5, 746, 48.7),
    (["xgboost_to_onnx"], ["prove-xgboost", "prove-onnx"], 0.36, 142, 0.8),
    (["xgboost_to_onnx"], ["prove-xgboost", "prove-onnx"], 2.5, 201, 4.7),
]


@pytest.mark.parametrize(("converters", "runners", "size", "memory", "disk"), MEASURED)
def test_what_was_measured_has_room_and_not_more_than_twice_of_it(
    converters: list[str], runners: list[str], size: float, memory: int, disk: float
) -> None:
    needs = estimate(int(size * MB), converters, runners)
    assert memory * MIB * 1.1 < needs.memory < max(memory * MIB * 2, 350 * MIB)
    assert disk * MB < needs.storage < 3 * disk * MB + (100 << 20)


def test_a_larger_model_and_a_longer_path_need_more() -> None:
    small, large = (estimate(size, ["netdef_to_onnx"], ["prove-onnx"]) for size in (MB, 1000 * MB))
    assert small.memory < large.memory
    assert small.storage < large.storage
    longer = estimate(1000 * MB, ["caffemodel_to_netdef", "netdef_to_onnx"], ["prove-onnx"])
    assert longer.storage > large.storage


def test_without_a_proof_a_streamed_conversion_needs_the_same_for_every_model() -> None:
    assert estimate(0, ["netdef_to_onnx"]).memory == estimate(10**12, ["netdef_to_onnx"]).memory


def test_every_environment_that_runs_models_has_been_thought_of() -> None:
    unknown = estimate(0, [], ["no such environment"])
    named = {runner.environment for runner in RUNNERS.values() if isinstance(runner, Runner)}
    for name in (*named, *(each for each in ENVIRONMENTS if each.startswith("convert-sklearn"))):
        assert name in ENVIRONMENTS
        assert estimate(0, [], [name]) != unknown, name


def test_every_converter_that_starts_a_program_has_been_thought_of() -> None:
    for pair in PAIRS:
        if pair.load().environment:
            assert estimate(MB, [pair.id]).memory > estimate(MB, []).memory, pair.id


def test_quantities_are_those_of_kubernetes_rounded_up() -> None:
    assert [mebibytes(size) for size in (0, 1, MIB, MIB + 1, 1 << 40)] == ["0Mi", "1Mi", "1Mi", "2Mi", "1048576Mi"]
    needs = Needs(3 * MIB, 5)
    assert (needs.memory_quantity, needs.storage_quantity) == ("3Mi", "1Mi")
    assert re.fullmatch(r"[1-9]\d*Mi", estimate(0, []).memory_quantity)
