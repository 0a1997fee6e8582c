"""Names and labels are such as Kubernetes takes, or the error says which is not."""

import pytest
from servings import predictor, serving

from klever.steps.errors import ServingError
from klever.steps.serving.platforms.names import label_value, object_labels
from klever.steps.serving.platforms.table import all_platforms, load_platform


@pytest.mark.parametrize("platform", ["kubernetes", "seldon", "kserve"])
@pytest.mark.parametrize("name", ["", "Resnet", "8bit", "a_b", "a-", "-a", "a.b", "a" * 64, "a\n"])
def test_a_name_that_no_service_can_have_is_refused_on_every_platform(platform: str, name: str) -> None:
    with pytest.raises(ServingError, match="is not a name for the serving") as failure:
        load_platform(platform).build(serving(name=name))
    assert "a-z" in failure.value.next_step


@pytest.mark.parametrize("platform", ["kubernetes", "seldon", "kserve"])
def test_a_name_is_refused_when_what_is_made_of_it_grows_too_long(platform: str) -> None:
    with pytest.raises(ServingError, match="characters too long"):
        load_platform(platform).build(serving(name="a" * 62))


def test_names_fill_what_seldon_leaves_of_63_characters() -> None:
    seldon = load_platform("seldon")
    # NAME-v1-0-v1 is the longest that the operator makes.
    seldon.build(serving(name="a" * 55))
    with pytest.raises(ServingError, match="1 characters too long"):
        seldon.build(serving(name="a" * 56))


def test_a_predictors_name_counts_twice_in_what_seldon_makes() -> None:
    with pytest.raises(ServingError, match="2 characters too long"):
        load_platform("seldon").build(serving(predictor("v" * 30), name="a"))


def test_a_namespace_may_begin_with_a_digit() -> None:
    for platform in all_platforms():
        platform.build(serving(namespace="2-teams"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ONNX", "ONNX"),
        ("a b/c", "a-b-c"),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}t", "t"),
        ("x" * 80, "x" * 63),
        ("", ""),
    ],
)
def test_a_label_holds_what_it_can_of_a_text(text: str, value: str) -> None:
    assert label_value(text) == value


def test_labels_of_a_model_do_not_take_the_place_of_those_that_select() -> None:
    for key in ("serving", "traffic", "predictor", "a/b", ""):
        with pytest.raises(ServingError, match="not a name for a label"):
            object_labels(serving(labels={key: "x"}))


def test_the_table_has_every_platform_that_a_plan_may_name() -> None:
    from klever.steps.serve import PLATFORMS

    assert {each.id for each in all_platforms()} >= set(PLATFORMS) - {"local"}
    with pytest.raises(ServingError, match="no platform 'mesos'"):
        load_platform("mesos")
