"""Inputs of a proof follow the signatures, the ranges and the seed, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klever.steps.errors import LimitExceededError, UnansweredError
from klever.steps.model.signature import Tensor
from klever.steps.proof.inputs import make_inputs, match, values_for

DTYPES = (
    "float16", "float32", "float64", "bfloat16", "int8", "uint8", "int16", "int32", "int64", "uint64", "bool", "object",
    "complex64", None,
)  # fmt: skip


def tensor(name: str, shape: tuple[int, ...] | None = (2, 3), dtype: str | None = "float32") -> Tensor:
    return Tensor(name=name, dtype=dtype, shape=shape)


def test_the_same_seed_gives_the_same_numbers_with_every_numpy() -> None:
    x = tensor("x", (3,), "float64")
    (pair,) = make_inputs([x], [x], 7, {})
    assert pair.values.tolist() == pytest.approx([0.21732804704353048, -0.6612901133068548, 1.211419762768479])
    (other,) = make_inputs([x], [x], 8, {})
    assert pair.values.tolist() != other.values.tolist()


def test_floats_are_standard_normal() -> None:
    (pair,) = make_inputs([], [tensor("x", (100_000,))], 0, {})
    moments = [float((pair.values.astype(float) ** power).mean()) for power in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.1)


def test_an_input_more_changes_none_of_those_before_it() -> None:
    one = make_inputs([], [tensor("a")], 0, {})
    two = make_inputs([], [tensor("a"), tensor("b")], 0, {})
    assert np.array_equal(one[0].values, two[0].values)
    assert not np.array_equal(two[0].values, two[1].values)


@given(
    st.sampled_from(DTYPES),
    st.lists(st.integers(-1, 5), max_size=5).map(tuple),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_values_have_the_type_and_every_size_that_is_known(
    dtype: str | None, shape: tuple[int, ...], seed: int
) -> None:
    (pair,) = make_inputs([], [tensor("x", shape, dtype)], seed, {})
    assert pair.values.shape == pair.tensor.shape
    assert all(known in (-1, made) for known, made in zip(shape, pair.values.shape, strict=True))
    kinds = {"object": "U", "bfloat16": "f", None: "f"}
    assert pair.values.dtype.kind == kinds.get(dtype) or pair.values.dtype == np.dtype(dtype)


def test_a_dynamic_batch_is_two_and_an_image_survives_halving() -> None:
    shapes = [(-1, 3, -1, -1), (-1, -1), (-1, 7, 4), (5, -1)]
    made = make_inputs([], [tensor(f"x{index}", shape) for index, shape in enumerate(shapes)], 0, {})
    assert [pair.values.shape for pair in made] == [(2, 3, 64, 64), (2, 8), (2, 7, 4), (5, 8)]


def test_sizes_of_the_result_come_before_those_of_the_source() -> None:
    (pair,) = make_inputs([tensor("x", (1, 3, 8))], [tensor("x", (-1, 3, 4))], 0, {})
    assert pair.values.shape == (1, 3, 4)


def test_a_rank_that_neither_tells_is_asked_for() -> None:
    with pytest.raises(UnansweredError) as caught:
        make_inputs([tensor("x", None)], [tensor("x", None)], 0, {})
    assert "--shape x=" in caught.value.next_step
    (pair,) = make_inputs([tensor("x", (4,))], [tensor("x", None)], 0, {})
    assert pair.values.shape == (4,)


def test_an_input_beyond_any_memory_is_refused() -> None:
    with pytest.raises(LimitExceededError):
        make_inputs([], [tensor("x", (2**40, 2**40))], 0, {})


@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_indices_stay_within_the_range_that_the_converter_knows(dtype: str) -> None:
    (pair,) = make_inputs([tensor("ids", (1000,), dtype)], [tensor("ids", (1000,), dtype)], 0, {"ids": (5, 9)})
    assert set(pair.values.tolist()) == {5, 6, 7, 8}


def test_integers_of_which_nothing_is_known_are_small_and_positive() -> None:
    (pair,) = make_inputs([], [tensor("n", (1000,), "int32")], 0, {})
    assert set(pair.values.tolist()) == {1, 2, 3}
    (pixels,) = make_inputs([], [tensor("n", (5000,), "uint8")], 0, {})
    assert (pixels.values.min(), pixels.values.max()) == (0, 255)


def test_names_match_before_places() -> None:
    pairs = list(match([tensor("a"), tensor("b"), tensor("c")], [tensor("c"), tensor("x"), tensor("a"), tensor("y")]))
    named = [(ours and ours.name, theirs and theirs.name) for ours, theirs in pairs]
    assert named == [("c", "c"), ("b", "x"), ("a", "a"), (None, "y")]
    assert [(ours and ours.name, theirs) for ours, theirs in match([tensor("a")], [])] == [("a", None)]


def test_each_model_gets_its_own_names_and_types() -> None:
    source, result = [tensor("in", (4,), "float64")], [tensor("in_1", (4,), "float32")]
    pairs = make_inputs(source, result, 0, {})
    ours = values_for(source, [pair.source for pair in pairs], pairs)
    theirs = values_for(result, [pair.result for pair in pairs], pairs)
    assert (ours["in"].dtype, theirs["in_1"].dtype) == (np.float64, np.float32)
    assert np.array_equal(ours["in"], theirs["in_1"])
