"""Payloads of webhooks are read into pushes, or refused as malformed; nothing else comes of them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klever.api.harbor.errors import MalformedEventError
from klever.api.harbor.events import MAX_EVENT_BYTES, MAX_RESOURCES, Event, Push, parse_event

DIGEST = "sha256:" + "ab" * 32
MOMENT = datetime(2026, 11, 22, 5, 29, 53, tzinfo=UTC)


def default(**changes: Any) -> dict[str, Any]:
    """Return a payload in the default format."""
    return {
        "type": "PUSH_ARTIFACT",
        "occur_at": int(MOMENT.timestamp()),
        "operator": "robot$release+klever",
        "event_data": content(),
    } | changes


def cloud(**changes: Any) -> dict[str, Any]:
    """Return a payload in the CloudEvents format."""
    return {
        "specversion": "1.0",
        "id": "950cc0e2-59d1-44b7-928c-ecf0828b0f37",
        "source": "/projects/2/webhook/policies/2",
        "type": "harbor.artifact.pushed",
        "datacontenttype": "application/json",
        "time": "2026-11-22T05:29:53Z",
        "data": content(),
        "operator": "robot$release+klever",
        "requestid": "17eba4d0-8342-412a-9a96-7c8e34cdc45f",
    } | changes


def content(*resources: dict[str, Any], repository: str = "release/mnist", project: str = "release") -> dict[str, Any]:
    """Return what both formats hold."""
    return {
        "resources": list(resources) or [resource()],
        "repository": {
            "date_created": 1677053165,
            "name": repository.partition("/")[2],
            "namespace": project,
            "repo_full_name": repository,
            "repo_type": "private",
        },
    }


def resource(tag: Any = "v1", digest: Any = DIGEST) -> dict[str, Any]:
    return {"digest": digest, "tag": tag, "resource_url": f"elsewhere.example/release/mnist:{tag}"}


def parse(document: Any) -> Event:
    return parse_event(json.dumps(document).encode())


@pytest.mark.parametrize("payload", [default(), cloud()], ids=["default", "CloudEvents"])
def test_a_push_is_read_in_both_formats(payload: dict[str, Any]) -> None:
    assert parse(payload).pushes == (Push("release", "release/mnist", DIGEST, "v1", "robot$release+klever", MOMENT),)


@pytest.mark.corpus
def test_every_recorded_webhook_is_read(shared: Path) -> None:
    recorded = json.loads((shared / "reference" / "harbor-recordings" / "webhooks.json").read_text())
    events = [parse(each["body"]) for each in recorded]
    pushed = [push for event in events for push in event.pushes]
    assert len(recorded) == 19
    assert len(pushed) == 18
    assert [event.ignored for event in events if not event.pushes] == ["DELETE_ARTIFACT is not a push"]
    assert {push.tag for push in pushed} == {"v1", "v2", "v3", "latest", "robot", None}
    assert {push.operator for push in pushed} == {"admin", "robot$release+klever"}


def test_a_push_by_digest_has_no_tag() -> None:
    (push,) = parse(default(event_data=content(resource(tag=DIGEST)))).pushes
    assert push.tag is None


def test_slashes_belong_to_the_repository() -> None:
    (push,) = parse(default(event_data=content(repository="release/team/vision/mnist"))).pushes
    assert (push.project, push.repository) == ("release", "release/team/vision/mnist")


def test_each_tag_is_a_push_and_the_same_twice_is_one() -> None:
    event = parse(default(event_data=content(resource("v1"), resource("v2"), resource("v1"))))
    assert [push.tag for push in event.pushes] == ["v1", "v2"]


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (default(type="PULL_ARTIFACT"), "PULL_ARTIFACT"),
        (default(type="DELETE_ARTIFACT", event_data=None), "DELETE_ARTIFACT"),
        (default(type="SCANNING_COMPLETED", event_data="anything"), "SCANNING_COMPLETED"),
        (cloud(type="harbor.artifact.pulled"), "harbor.artifact.pulled"),
        (cloud(type="com.example.other", data=None), "com.example.other"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_push_is_ignored_with_its_kind_as_the_reason(payload: dict[str, Any], kind: str) -> None:
    assert parse(payload) == Event((), f"{kind} is not a push")


def test_a_push_of_nothing_is_ignored() -> None:
    payload = default()
    payload["event_data"]["resources"] = []
    assert parse(payload) == Event((), "the push names no artifact")


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ([], "is not a JSON object"),
        ({}, "has no type"),
        (default(type=7), "has no type"),
        (default(event_data=None), "has no event_data"),
        (cloud(data=[]), "has no data"),
        (cloud(specversion="0.3"), "another version than 1.0"),
        (default(event_data={"resources": [resource()]}), "has no repository"),
        (default(event_data=content() | {"resources": {}}), "has no list of at most"),
        (default(event_data=content(*[resource()] * (MAX_RESOURCES + 1))), "has no list of at most"),
        (default(event_data=content() | {"resources": ["v1"]}), "a resource that is not a JSON object"),
        (default(event_data=content(resource(digest="sha256:short"))), "is not a digest"),
        (default(event_data=content(resource(digest=None))), "has no digest"),
        (default(event_data=content(resource(tag="{{workflow.name}}"))), "is not a tag"),
        (default(event_data=content(resource(tag="sha256:no"))), "is not a digest"),
        (default(event_data=content(resource(tag=["v1"]))), "a tag that is not text"),
        (default(event_data=content(repository="other/mnist")), "outside of its project"),
        (default(event_data=content(repository="release")), "outside of its project"),
        (default(event_data=content(repository="release/../secret")), "is not a repository name"),
        (default(event_data=content(repository="release/MNIST")), "is not a repository name"),
    ],
)
def test_a_malformed_payload_is_refused_with_what_is_wrong(payload: Any, words: str) -> None:
    with pytest.raises(MalformedEventError, match=words.replace("(", "[(]")) as caught:
        parse(payload)
    assert caught.value.stage == "event"
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"type": "a", "type": "b"}', "repeats|twice|key"),
        (b"[" * 100_000, "nested|JSON"),
        (b'{"type": "' + b"x" * MAX_EVENT_BYTES + b'"}', "more than 1048576"),
        (b'{"type": "PUSH_ARTIFACT", "x": [' + b"0," * 100_000 + b"0]}", "more than"),
    ],
    ids=["empty", "not-utf-8", "a-key-twice", "deep", "long", "wide"],
)
def test_what_is_no_document_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(MalformedEventError, match=words):
        parse_event(data)


@pytest.mark.parametrize("value", [None, -1, True, 10**30, "yesterday", [], "0000-00-00T00:00:00Z"])
def test_a_time_that_makes_no_sense_is_left_out(value: Any) -> None:
    assert parse(default(occur_at=value)).pushes[0].occurred is None
    assert parse(cloud(time=value)).pushes[0].occurred is None


def test_an_operator_cannot_steer_a_terminal() -> None:
    assert parse(default(operator="a\x1b[31m\nb")).pushes[0].operator == "a?[31m?b"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary() | _JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_lead_to_another_error(data: bytes) -> None:
    try:
        event = parse_event(data)
    except MalformedEventError:
        return
    assert bool(event.pushes) is not bool(event.ignored)


@given(payload=st.sampled_from([default(), cloud()]), data=st.data())
def test_no_change_of_a_push_leads_to_another_error(payload: dict[str, Any], data: st.DataObject) -> None:
    document: Any = json.loads(json.dumps(payload))
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(_JSON)
    try:
        event = parse(document)
    except MalformedEventError:
        return
    assert bool(event.pushes) is not bool(event.ignored)
