"""What counts as a difference between two models' outputs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from klever.steps.model.certificate import OutputError, Tolerance
from klever.steps.proof.arrays import Array
from klever.steps.proof.compare import HALF, RECURRENT, USUAL, choose_tolerance, compare, says_something

STRICT = Tolerance(absolute=1e-4, relative=1e-3)


def one(source: object, result: object, tolerance: Tolerance = STRICT) -> OutputError:
    (error,) = compare({"y": np.asarray(source)}, {"y": np.asarray(result)}, tolerance)
    return error


@given(arrays(np.float64, (7,), elements=st.floats(-1e6, 1e6)), arrays(np.float64, (7,), elements=st.floats(-1e6, 1e6)))
def test_the_rule_is_that_of_numpy(source: Array, result: Array) -> None:
    assert one(source, result).within_tolerance == np.allclose(result, source, rtol=1e-3, atol=1e-4)


def test_the_largest_errors_are_told() -> None:
    error = one([1.0, 100.0, 0.0], [1.5, 101.0, 0.00001])
    assert error.largest_absolute == pytest.approx(1.0)
    assert error.largest_relative == pytest.approx(0.5)
    assert not error.within_tolerance
    assert error.difference == "2 of 3 are beyond the tolerance"


def test_beside_zero_a_relative_error_is_not_told() -> None:
    assert one([0.0, 1e-9], [1e-9, 2e-9]).largest_relative == 0


def test_numbers_that_cancel_are_measured_by_the_largest_of_their_output() -> None:
    source, result = [1e4, 1e-3], [1e4, 1e-3 + 5e-2]
    assert not one(source, result).within_tolerance
    assert one(source, result, USUAL).within_tolerance
    assert not one(source, [1e4, 1e-3 + 0.2], USUAL).within_tolerance


def test_small_numbers_that_differ_from_each_other_do_not_agree_with_any_small_numbers() -> None:
    source = np.linspace(0.0009, 0.0011, 1000)
    assert one(source[:500], source[250:750]).within_tolerance
    assert not one(source[:500], source[250:750], USUAL).within_tolerance
    assert one(source, source * (1 + 1e-5), USUAL).within_tolerance


def test_what_varies_by_rounding_alone_agrees_with_what_does_so_otherwise() -> None:
    source, result = [0.1, 0.1 + 1e-8, 0.1 - 1e-8], [0.1 - 1e-8, 0.1, 0.1 + 1e-8]
    assert one(source, result, USUAL).within_tolerance


@pytest.mark.parametrize(
    ("source", "result", "agrees"),
    [
        ([np.nan, 1], [np.nan, 1], True),
        ([np.inf, 1], [np.inf, 1], True),
        ([np.inf, 1], [-np.inf, 1], False),
        ([np.nan, 1], [1, 1], False),
        ([1, 1], [np.nan, 1], False),
        ([1, 1], [np.inf, 1], False),
    ],
)
def test_nan_and_infinities_have_to_be_in_the_same_places(
    source: list[float], result: list[float], agrees: bool
) -> None:
    error = one(np.array(source, float), np.array(result, float))
    assert error.within_tolerance == agrees
    assert agrees or error.difference == "1 of 2 are NaN or infinite in one of both"
    assert error.largest_absolute == 0


def test_integers_and_truth_values_are_equal_or_not() -> None:
    assert one([2**62, 5], [2**62, 5]).within_tolerance
    assert not one([2**62, 5], [2**62 + 1, 5]).within_tolerance
    assert not one([10_000], [10_001]).within_tolerance
    assert not one([True, False], [True, True]).within_tolerance
    assert one([1, 2], np.array([1, 2], np.int32)).difference is None


def test_another_kind_of_number_is_told_and_compared() -> None:
    error = one(np.array([3.0], np.float32), [3])
    assert error.within_tolerance
    assert error.difference == "is int64, in the source float32"
    assert not one(np.array([3.0], np.float32), [4]).within_tolerance


def test_another_shape_is_a_difference() -> None:
    error = one(np.zeros((2, 3)), np.zeros((3, 2)))
    assert not error.within_tolerance
    assert error.difference == "has the shape 3x2, in the source 2x3"
    assert not one(np.zeros(()), np.zeros((1,))).within_tolerance


def test_texts_are_equal_or_not() -> None:
    assert one(["a", "bc"], ["a", "bc"]).within_tolerance
    assert one(["a", "bc"], ["a", "bd"]).difference == "1 of 2 texts differ"
    assert not one(["1"], [1]).within_tolerance


def test_complex_numbers_are_compared_as_such() -> None:
    assert one([1 + 1j], [1 + 1.00001j]).within_tolerance
    assert not one([1 + 1j], [1 - 1j]).within_tolerance


def test_empty_outputs_agree() -> None:
    assert one(np.zeros((0, 4)), np.zeros((0, 4))).within_tolerance


def test_an_output_that_only_one_has_is_a_difference() -> None:
    zero = np.zeros(1)
    errors = compare({"a": zero, "b": zero}, {"a": zero}, STRICT)
    assert [(error.name, error.difference) for error in errors] == [("a", None), ("b", "the result has no such output")]
    errors = compare({"a": zero}, {"a": zero, "c": zero}, STRICT)
    assert errors[1].difference == "the source has no such output"


def test_renamed_outputs_are_compared_by_place() -> None:
    errors = compare({"a": np.zeros(1), "b": np.ones(1)}, {"x": np.zeros(1), "b": np.ones(1)}, STRICT)
    assert [(error.name, error.within_tolerance) for error in errors] == [("x", True), ("b", True)]


def test_recurrent_and_half_precision_models_have_tolerances_of_their_own() -> None:
    assert choose_tolerance(["Convolution", "FullyConnected"], half=False) is USUAL
    for operator in ("RNN", "LSTM", "CuDNNGRU", "Bidirectional_LSTM", "Loop", "StatelessWhile", "SimpleRNN"):
        assert choose_tolerance(["Conv", operator], half=False) is RECURRENT
    assert choose_tolerance(["LSTM"], half=True) is HALF
    assert (USUAL.absolute, USUAL.relative, RECURRENT.absolute) == (1e-4, 1e-3, 1e-3)


def test_nothing_but_nan_says_nothing() -> None:
    assert not says_something([np.array([np.nan, np.inf])])
    assert not says_something([])
    assert says_something([np.array([np.nan, 0.0])])
    assert says_something([np.array(["a"])])
