"""Arguments are held against what a workflow declares, all faults at once."""

import pytest

from klever.workflows.arguments import InvalidArgumentsError, check_arguments, declared_parameters

SPEC = {
    "arguments": {
        "parameters": [
            {"name": "model", "description": "Which."},
            {"name": "opset", "value": 17},
            {"name": "repack", "value": False},
            {"name": "level", "value": "compared", "enum": ["compared", "executed", "none"]},
            {"name": "batch", "default": "1"},
            {"name": "from-the-cluster", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
            {"name": "with-a-default", "valueFrom": {"default": "d", "configMapKeyRef": {"name": "c", "key": "k"}}},
        ]
    }
}
PARAMETERS = declared_parameters(SPEC)


def test_what_is_declared_is_read_with_values_as_argo_writes_them() -> None:
    assert {name: each.default for name, each in PARAMETERS.items()} == {
        "model": None,
        "opset": "17",
        "repack": "false",
        "level": "compared",
        "batch": "1",
        "from-the-cluster": None,
        "with-a-default": "d",
    }
    assert [name for name, each in PARAMETERS.items() if each.required] == ["model"]


@pytest.mark.parametrize("spec", [{}, {"arguments": None}, {"arguments": {"parameters": None}}])
def test_a_workflow_may_declare_nothing(spec: dict[str, object]) -> None:
    assert declared_parameters(spec) == {}


def test_arguments_that_fit_are_taken() -> None:
    check_arguments({"model": "a/b:v1", "level": "none"}, PARAMETERS, of="x")


def test_an_empty_value_is_a_value() -> None:
    check_arguments({"model": ""}, PARAMETERS, of="x")


def test_every_fault_is_told_at_once_with_the_name_that_was_meant() -> None:
    with pytest.raises(InvalidArgumentsError) as caught:
        check_arguments({"modle": "a", "zzz": "1", "level": "Compared"}, PARAMETERS, of="klever-convert")
    assert caught.value.faults == (
        "'modle' is not a parameter (did you mean model?)",
        "'zzz' is not a parameter (there are model, opset, repack, level, batch, from-the-cluster, with-a-default)",
        "model has to be given",
        "level is 'Compared', expected one of 'compared', 'executed', 'none'",
    )
    assert "klever run klever-convert --describe" in caught.value.next_step


def test_a_value_with_control_characters_does_not_reach_the_terminal() -> None:
    with pytest.raises(InvalidArgumentsError) as caught:
        check_arguments({"model": "m", "level": "\x1b[2J"}, PARAMETERS, of="x")
    assert "\x1b" not in caught.value.cause
