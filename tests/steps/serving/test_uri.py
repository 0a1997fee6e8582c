"""A model and how it is to be served, as one URI."""

import pytest

from klever.steps.errors import InvalidReferenceError, ServingError
from klever.steps.oci.reference import parse_reference
from klever.steps.serving.servers.interface import Tuning
from klever.steps.serving.uri import ModelUri, check_name, parse_model_uri, usual_name

REFERENCE = "harbor.example:8443/vision/resnet:v1"
PINNED = f"{REFERENCE}@sha256:{'a' * 64}"


@pytest.mark.parametrize(
    "uri",
    [
        ModelUri(parse_reference(REFERENCE)),
        ModelUri(parse_reference(PINNED), "triton", "res.net_2-x"),
        ModelUri(parse_reference(PINNED), "mlserver", "resnet", Tuning(max_batch=0, instances=2, queue_delay=500)),
        ModelUri(parse_reference("local/resnet:v1"), None, "resnet", Tuning(max_batch=16, gpu=True)),
    ],
)
def test_what_is_written_is_read_as_the_same(uri: ModelUri) -> None:
    assert parse_model_uri(str(uri)) == uri


def test_a_bare_reference_is_one_as_old_manifests_have_it() -> None:
    assert parse_model_uri(REFERENCE) == ModelUri(parse_reference(REFERENCE))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("server", "a query that is none"),
        ("colour=red", "colour=red means nothing"),
        ("gpu=maybe", "gpu=maybe means nothing"),
        ("batch=-1", "got '-1' for batch"),
        ("batch=" + "9" * 30, "for batch"),
        ("name=a&name=b", "says one thing twice"),
        ("name=..", "is not a name to serve a model under"),
        ("name=a%2Fb", "is not a name to serve a model under"),
        ("name=", "is not a name to serve a model under"),
    ],
)
def test_a_query_that_means_nothing_is_refused(query: str, said: str) -> None:
    with pytest.raises(ServingError, match=said):
        parse_model_uri(f"oci+model://{REFERENCE}?{query}")


def test_a_reference_has_no_query() -> None:
    with pytest.raises(ServingError, match="a reference has not"):
        parse_model_uri(f"{REFERENCE}?server=triton")


def test_a_uri_of_no_reference_is_refused() -> None:
    with pytest.raises(InvalidReferenceError):
        parse_model_uri("oci+model://Not A Reference?server=triton")


@pytest.mark.parametrize("name", ["-a", "a-", "a" * 64, "a/b", "a b", "ä", "", ".", "a\n"])
def test_a_name_that_no_folder_label_or_path_can_have_is_refused(name: str) -> None:
    with pytest.raises(ServingError):
        check_name(name)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        (REFERENCE, "resnet"),
        ("resnet", "resnet"),
        (f"a/{'b' * 62}-{'c' * 20}:v1", "b" * 62),
    ],
)
def test_a_model_is_called_as_its_repository_is_in_the_end(reference: str, name: str) -> None:
    assert usual_name(parse_reference(reference)) == name
