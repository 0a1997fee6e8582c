"""Formats by their names."""

import pytest

from klever.steps.errors import MetadataError
from klever.steps.formats.table import MODULES, format_id


@pytest.mark.parametrize("name", MODULES)
def test_a_format_is_found_by_its_name_in_any_case(name: str) -> None:
    assert {format_id(spelled) for spelled in (name, name.lower(), name.upper())} == {name}


@pytest.mark.parametrize("name", ["", "MXNet", "onnx ", "ONNX\n", "klever.steps.formats.onnx"])
def test_what_is_no_format_is_told_with_those_that_there_are(name: str) -> None:
    with pytest.raises(MetadataError) as told:
        format_id(name)
    assert all(known in told.value.next_step for known in MODULES)
