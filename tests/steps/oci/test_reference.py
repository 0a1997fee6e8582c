"""References: Docker's grammar, with this machine's store where there is no host."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klever.steps.errors import InvalidReferenceError
from klever.steps.oci.descriptor import parse_digest
from klever.steps.oci.reference import parse_reference

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag", "digest"),
    [
        ("mnist", "", "mnist", "latest", None),
        ("release/mnist:v1.0", "", "release/mnist", "v1.0", None),
        ("localhost/mnist", "localhost", "mnist", "latest", None),
        ("localhost:5000/a/b/c:x", "localhost:5000", "a/b/c", "x", None),
        ("harbor.example/p/m", "harbor.example", "p/m", "latest", None),
        ("10.0.0.1:8443/p/m:v", "10.0.0.1:8443", "p/m", "v", None),
        ("[::1]:5000/m:v", "[::1]:5000", "m", "v", None),
        ("HOST/m", "HOST", "m", "latest", None),
        (f"h.example/m@{DIGEST}", "h.example", "m", None, DIGEST),
        (f"m:v1@{DIGEST}", "", "m", "v1", DIGEST),
        ("a__b/c-d.e:_", "", "a__b/c-d.e", "_", None),
    ],
)
def test_a_reference_is_split_by_dockers_rules(
    text: str, host: str, repository: str, tag: str | None, digest: str | None
) -> None:
    reference = parse_reference(text)
    assert (reference.host, reference.repository, reference.tag, reference.digest) == (host, repository, tag, digest)
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "directory", "repository", "tag"),
    [
        ("oci:/tmp/x", "/tmp/x", "", None),
        ("oci:./x:sklearn-model-v1", "./x", "", "sklearn-model-v1"),
        ("oci:x:release/mnist:v1", "x", "release/mnist", "v1"),
    ],
)
def test_an_oci_reference_names_a_layout(text: str, directory: str, repository: str, tag: str | None) -> None:
    reference = parse_reference(text)
    assert (reference.layout, reference.repository, reference.tag) == (directory, repository, tag)
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "@", "/", "a//b", "/a", "a/", "a/../b", "../a", "a/./b", "A", "a b", "a\n", "a:", "a:.x", "a:..", "a:x/y",
        "a:" + "t" * 129, "a" * 256, "h.example:0/x", "h.example:99999/x", "h.example:x/y", "-h.example/x", "a@sha256:0",
        f"a@{DIGEST.upper()}", f"a@{DIGEST}x", f"a@{DIGEST}\n", "a@../../x", "ä", "a:ö", "oci:", "oci:x:a/../b:v", "oci:x:a:..",
        "oci:x\0:v", "a_.b", "a---.b", "http://h.example/x", "h.example/x?y", "h.example/x%2f",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse_reference(text)
    assert caught.value.cause


def test_upper_case_is_explained() -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse_reference("h.example/Release/Mnist")
    assert "release/mnist" in caught.value.next_step


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused_and_never_becomes_a_path_trick(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidReferenceError:
        return
    parts = reference.repository.split("/")
    assert ".." not in parts
    assert not reference.repository.startswith("/")
    assert reference.tag not in (".", "..")
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:xyz", "md5:" + "0" * 32, "sha256:" + "0" * 63, "../" + DIGEST, None]
)
def test_a_digest_is_strict(text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        parse_digest(text)
