"""Data types of the Open Inference Protocol."""

import numpy as np
import pytest

from klever.steps.serving.datatypes import DATATYPES, datatype_of, dtype_of


@pytest.mark.parametrize("dtype", sorted(DATATYPES.keys() - {"bfloat16"}))
def test_every_type_is_one_of_numpys_and_comes_back(dtype: str) -> None:
    assert np.dtype(dtype).name == dtype
    datatype = datatype_of(dtype)
    assert datatype is not None
    assert dtype_of(datatype) == dtype


@pytest.mark.parametrize("dtype", [None, "", "complex64", "uint4", "datetime64[ns]"])
def test_a_type_that_the_protocol_does_not_have_is_none(dtype: str | None) -> None:
    assert datatype_of(dtype) is None


def test_a_name_that_the_protocol_does_not_have_is_none() -> None:
    assert dtype_of("FP8") is None
