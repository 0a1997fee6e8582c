"""The WorkflowTemplates of the chart are those of `klever.workflows.templates`, for whatever values."""

from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest
from helm import NAMESPACE, Document, named, of_kind, refusal, render

from klever.workflows.templates import access
from klever.workflows.templates.settings import Settings, SettingsError
from klever.workflows.templates.table import TEMPLATES, build

OWN_LABELS = {"app.kubernetes.io/instance": "klever", "app.kubernetes.io/managed-by": "Helm"}
KINDS_OF_ACCESS = ("ServiceAccount", "Secret", "Role", "RoleBinding")
#: Settings of `Settings`, and the values of the chart that say the same.
SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "defaults": ({}, {}),
    "images": (
        {"image_prefix": "registry.example:5000/a/b/", "image_tag": "2.0.0-rc.1", "image_pull_policy": "Always"},
        {"image": {"prefix": "registry.example:5000/a/b/", "tag": "2.0.0-rc.1", "pullPolicy": "Always"}},
    ),
    "a tag and names that look like numbers": (
        {"image_tag": "1234", "registry_secret": "1e3", "ca_config_map": "123"},
        {"image": {"tag": "1234"}, "registry": {"secret": "1e3", "caConfigMap": "123"}},
    ),
    "names that YAML has a meaning for": (
        {"registry_secret": "null", "ca_config_map": "yes", "allowed_claims": ("true", "null")},
        {
            "registry": {"secret": "null", "caConfigMap": "yes"},
            "pipelines": {"allowedClaims": ["true", "null"]},
        },
    ),
    "numbers": (
        {
            "step_deadline": 1,
            "convert_deadline": 10_000_000,
            "workflow_deadline": 31_536_000,
            "keep_succeeded": 2,
            "keep_failed": 3,
            "retries": 9,
            "keep_logs": "5m",
            "remember": "24h",
        },
        {
            "pipelines": {
                "deadlines": {"stepSeconds": 1, "convertSeconds": 10_000_000, "workflowSeconds": 31_536_000},
                "keepSucceededSeconds": 2,
                "keepFailedSeconds": 3,
                "retries": 9,
                "keepLogs": "5m",
                "remember": "24h",
            }
        },
    ),
    "sources": (
        {
            "allowed_urls": ("https://a.example/m/", "http://b.example:81/it's:", 'http://c.example/"#\\'),
            "allowed_claims": ("nfs", "archive", "third"),
        },
        {
            "pipelines": {
                "allowedUrls": ["https://a.example/m/", "http://b.example:81/it's:", 'http://c.example/"#\\'],
                "allowedClaims": ["nfs", "archive", "third"],
            }
        },
    ),
    "Argo elsewhere": (
        {"controller_namespace": "workflows", "controller_service_account": "workflow-controller"},
        {"argo": {"namespace": "workflows", "serviceAccount": "workflow-controller"}},
    ),
}


def of_the_chart(documents: Iterable[Document]) -> dict[tuple[str, str], Document]:
    """Return documents by kind and name, without what Helm's own have besides."""
    found = {}
    for each in documents:
        metadata = {key: value for key, value in each["metadata"].items() if key != "namespace"}
        metadata["labels"] = {k: v for k, v in metadata["labels"].items() if k not in OWN_LABELS}
        found[each["kind"], each["metadata"]["name"]] = each | {"metadata": metadata}
    return found


def check(settings: Settings, values: dict[str, Any]) -> list[Document]:
    """Fail where the chart's templates differ from those of the settings; return all of the chart's objects."""
    documents = render(values)
    expected = {("WorkflowTemplate", each.name): each.to_dict() for each in build(settings)}
    assert of_the_chart(of_kind(documents, "WorkflowTemplate")) == expected
    return documents


def test_every_template_is_there() -> None:
    assert {each["metadata"]["name"] for each in of_kind(render(), "WorkflowTemplate")} == set(TEMPLATES)


@pytest.mark.parametrize(("settings", "values"), SAME.values(), ids=list(SAME))
def test_templates_are_those_of_the_same_settings(settings: dict[str, Any], values: dict[str, Any]) -> None:
    check(Settings(**settings), values)


def option(index: int, on: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an option that adds or changes lines of the templates, as a setting and as a value's path."""
    settings, path = [
        ({"remember": "1h" if on else ""}, ("pipelines", "remember")),
        ({"argo": "3" if on else "4"}, ("argo", "version")),
        ({"plain_http": on}, ("registry", "plainHttp")),
        ({"ca_config_map": "authorities" if on else ""}, ("registry", "caConfigMap")),
        ({"reserve_storage": on}, ("pipelines", "reserveStorage")),
        ({"allowed_urls": ("https://a.example/",) if on else ()}, ("pipelines", "allowedUrls")),
        ({"allowed_claims": ("nfs", "archive") if on else ()}, ("pipelines", "allowedClaims")),
    ][index]
    (value,) = settings.values()
    return settings, {path[0]: {path[1]: list(value) if isinstance(value, tuple) else value}}


#: Options that stand in the same lists of a template, and those of which one stands within another.
NEIGHBOURS, NESTED = (2, 3, 5, 6), (0, 1, 4)


@pytest.mark.parametrize("together", [NEIGHBOURS, NESTED], ids=["neighbours", "nested"])
@pytest.mark.parametrize("others", [True, False], ids=["on", "off"])
def test_templates_are_the_same_whatever_options_are_taken_together(together: tuple[int, ...], others: bool) -> None:
    for chosen in product((True, False), repeat=len(together)):
        states = dict.fromkeys(range(7), others) | dict(zip(together, chosen, strict=True))
        settings: dict[str, Any] = {}
        values: dict[str, Any] = {}
        for index, on in states.items():
            more, at = option(index, on)
            settings |= more
            values |= {room: values.get(room, {}) | inner for room, inner in at.items()}
        check(Settings(**settings), values)


@pytest.mark.parametrize("remember", ["1h", ""])
def test_accounts_and_rights_are_those_of_the_same_settings(remember: str) -> None:
    documents = render({"pipelines": {"remember": remember}, "namespaces": ["vision", "speech"]})
    for namespace in ("vision", "speech"):
        ours = [each for each in of_kind(documents, *KINDS_OF_ACCESS) if each["metadata"]["namespace"] == namespace]
        # Those of the controller and the server, which are not the pipelines'.
        ours = [each for each in ours if "app.kubernetes.io/component" not in each["metadata"]["labels"]]
        expected = access.build(Settings(remember=remember), namespace)
        here = [each for each in expected if "namespace" not in each["metadata"]]
        assert of_the_chart(ours) == {(each["kind"], each["metadata"]["name"]): each for each in here}


def test_the_right_to_remember_results_has_a_name_of_the_release() -> None:
    documents = render()
    (role, binding) = (
        each for each in access.build(Settings(), NAMESPACE) if each["metadata"].get("namespace") == "argo"
    )
    name = f"klever-cache-{NAMESPACE}"
    assert named(documents, "Role", name)["rules"] == role["rules"]
    ours = named(documents, "RoleBinding", name)
    assert ours["subjects"] == binding["subjects"]
    assert ours["roleRef"] == binding["roleRef"] | {"name": name}
    assert ours["metadata"]["namespace"] == "argo"


def test_pipelines_can_be_left_to_klever_templates_apply() -> None:
    documents = render({"pipelines": {"install": False}})
    assert not of_kind(documents, "WorkflowTemplate")
    names = {each["metadata"]["name"] for each in of_kind(documents, "ServiceAccount", "Role")}
    assert names == {"klever-controller", "klever-server", "klever-controller-lease"}


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({"image_prefix": "docker.io"}, {"image": {"prefix": "docker.io"}}),
        ({"image_prefix": "Docker.io/"}, {"image": {"prefix": "Docker.io/"}}),
        ({"image_tag": "-"}, {"image": {"tag": "-"}}),
        ({"image_tag": "a" * 129}, {"image": {"tag": "a" * 129}}),
        ({"registry_secret": "Secret"}, {"registry": {"secret": "Secret"}}),
        ({"ca_config_map": "a_b"}, {"registry": {"caConfigMap": "a_b"}}),
        ({"allowed_urls": ("https://a.example",)}, {"pipelines": {"allowedUrls": ["https://a.example"]}}),
        ({"allowed_urls": ("https://a/{{x}}",)}, {"pipelines": {"allowedUrls": ["https://a/{{x}}"]}}),
        ({"allowed_claims": ("../etc",)}, {"pipelines": {"allowedClaims": ["../etc"]}}),
        ({"remember": "1d"}, {"pipelines": {"remember": "1d"}}),
        ({"keep_logs": "1"}, {"pipelines": {"keepLogs": "1"}}),
        ({"retries": 0}, {"pipelines": {"retries": 0}}),
        ({"keep_failed": 0}, {"pipelines": {"keepFailedSeconds": 0}}),
        ({"argo": "5"}, {"argo": {"version": "5"}}),
    ],
    ids=str,
)
def test_the_schema_refuses_what_settings_refuse(settings: dict[str, Any], values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Settings(**settings)
    assert refusal(values)
