"""What the templates make of references, good ones and nasty ones; the same ones meet Argo itself in `tests/cluster`."""

import re

import pytest
from nasty import NASTY_REFERENCES

from klever.workflows.local.expressions import environment, parse
from klever.workflows.templates import expressions as of

DIGEST = "sha256:" + "ab" * 32
#: A label's value, as Kubernetes checks it (``IsValidLabelValue``).
LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?", re.ASCII)
#: A node's display name (``displayNameRegex`` in Argo's operator.go).
DISPLAY_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-.]{0,61}[a-zA-Z0-9]", re.ASCII)
#: A key of Argo's cache (``cacheKeyRegex`` in cache.go).
CACHE_KEY = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*", re.ASCII)


def value(expression: str, model: str, **others: str) -> str:
    variables = {
        "inputs.parameters.model": model,
        "workflow.uid": "uid",
        "workflow.namespace": "models",
        "node.name": "node",
    }
    result = parse(expression).evaluate(environment(variables | others))
    assert isinstance(result, str)
    return result


@pytest.mark.parametrize(
    ("reference", "project", "model"),
    [
        ("resnet", "", "resnet"),
        ("resnet:v1", "", "resnet"),
        ("vision/resnet:v1", "vision", "resnet"),
        ("harbor.example/vision/resnet:v1", "vision", "resnet"),
        ("harbor.example:8443/vision/resnet", "vision", "resnet"),
        ("localhost/vision/resnet", "vision", "resnet"),
        ("Harbor/vision/resnet", "vision", "resnet"),
        ("[::1]:5000/vision/resnet:v1", "vision", "resnet"),
        (f"harbor.example/vision/resnet:v1@{DIGEST}", "vision", "resnet"),
        (f"vision/resnet@{DIGEST}", "vision", "resnet"),
        ("harbor.example/vision/nets/resnet:v1", "vision", "nets-resnet"),
        ("vision/" + "x" * 200 + ":v1", "vision", "x" * 63),
        ("a__b/c--d.e:v1", "a__b", "c--d.e"),
    ],
)
def test_labels_name_the_project_and_the_model(reference: str, project: str, model: str) -> None:
    assert value(of.project_of(of.given("model")), reference) == project
    assert value(of.model_of(of.given("model")), reference) == model


@pytest.mark.parametrize("reference", NASTY_REFERENCES)
def test_whatever_is_given_labels_names_and_locks_are_legal(reference: str) -> None:
    model = of.given("model")
    for expression in (of.project_of(model), of.model_of(model), of.label(model)):
        assert LABEL.fullmatch(value(expression, reference))
    assert DISPLAY_NAME.fullmatch(value(of.display_name("'convert to'", model, of.model_of(model)), reference))
    assert re.fullmatch(r"klever/[A-Za-z0-9._:/-]*", value(of.lock_of(model), reference))
    assert CACHE_KEY.fullmatch(value(of.result_key("1.0.0", model, [model]), reference))
    assert re.fullmatch(r"[0-9A-Za-z.]*", value(of.quantity(model), reference))


@pytest.mark.parametrize("reference", ["vision/resnet", "vision/resnet:latest", f"vision/resnet:latest@{DIGEST}"])
def test_a_tag_has_one_lock_however_it_is_written(reference: str) -> None:
    assert value(of.lock_of(of.given("model")), reference) == "klever/vision/resnet:latest"


def test_a_port_is_no_tag() -> None:
    assert (
        value(of.lock_of(of.given("model")), "harbor.example:5000/resnet") == "klever/harbor.example:5000/resnet:latest"
    )


def test_a_tag_alone_is_never_a_key() -> None:
    key = of.result_key("1.0.0", of.given("model"), [of.given("model")])
    pinned, tagged = f"resnet:v1@{DIGEST}", "resnet:v1"
    assert value(key, pinned) == value(key, pinned, **{"workflow.uid": "other", "node.name": "other"})
    assert value(key, tagged) != value(key, tagged, **{"workflow.uid": "other"})
    assert value(key, tagged) != value(key, tagged, **{"node.name": "other"})


def test_another_version_or_namespace_has_another_key() -> None:
    model = of.given("model")
    pinned = f"resnet:v1@{DIGEST}"
    assert value(of.result_key("1.0.0", model, [model]), pinned) != value(
        of.result_key("1.0.1", model, [model]), pinned
    )
    key = of.result_key("1.0.0", model, [model])
    assert value(key, pinned) != value(key, pinned, **{"workflow.namespace": "other"})


@pytest.mark.parametrize("text", ["it's", "a\\b", "a\nb", "{{x}}"])
def test_text_that_a_literal_would_change_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="plain literal"):
        of.quoted(text)
