"""What operators look at: health, readiness, metrics, logs, settings."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from klever.api.http.reach import Reachability, watch
from klever.api.http.seldom import Seldom
from klever.api.http.settings import Settings, SettingsError
from klever.api.logs import JsonFormatter
from klever.steps.errors import NotFoundError, RegistryUnavailableError

from .conftest import Facade, Serve, default_event, digest, until


def test_it_lives_and_is_ready(facade: Facade) -> None:
    assert facade.get("/healthz").document == {"status": "ok"}
    answer = facade.get("/readyz")
    assert (answer.status, answer.document) == (200, {"status": "ready", "checks": {"secret": "ok", "policy": "ok"}})


def test_a_policy_that_cannot_be_read_is_told(facade: Facade) -> None:
    facade.policy_file.write_text("projects: [{match: release}]")
    answer = facade.get("/readyz")
    assert (answer.status, answer.reason) == (503, "NotReady")
    assert "policy" in answer.document["message"]
    assert "namespace" in answer.document["checks"]["policy"]
    # The webhook itself goes on by the last good one.
    assert facade.send(default_event()).status == 202
    facade.policy_file.write_text("projects: []")
    assert facade.get("/readyz").status == 200


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_is_no_life(serve: Serve) -> None:
    def fail(_push: object) -> Any:
        raise SystemExit

    facade = serve(handle=fail)
    assert facade.get("/healthz").status == 200
    facade.send(default_event())
    until(lambda: facade.get("/healthz").status == 500)
    assert facade.get("/healthz").reason == "Broken"


def test_an_api_server_counts_as_there_while_it_has_answered_lately() -> None:
    reachability = Reachability(recent=0.2)
    assert reachability.check() == "it has not been asked yet"
    reachability.tell("no such cluster")
    assert reachability.check() == "no such cluster"
    reachability.tell("")
    reachability.tell("it is away")
    assert reachability.check() == ""
    until(lambda: reachability.check() == "it is away")


def test_who_is_asked_again_and_again_is_told_of_in_words() -> None:
    answers = iter([NotFoundError("no such cluster"), RuntimeError("strange"), None, KeyboardInterrupt()])
    told: list[str] = []

    def ask() -> None:
        if (error := next(answers)) is not None:
            raise error

    with pytest.raises(KeyboardInterrupt):
        watch(ask, told.append, every=0)
    assert told == ["no such cluster", "it cannot be asked: RuntimeError", ""]


def test_events_and_pushes_are_counted_by_what_became_of_them(facade: Facade) -> None:
    facade.send(default_event(digest(1), digest(2)))
    until(lambda: facade.count("started") == 2)
    facade.send(default_event(digest(1)))
    facade.send(default_event(kind="DELETE_ARTIFACT"))
    facade.send(b"no event")
    facade.handled.failures = [NotFoundError("gone")]
    facade.send(default_event(digest(3)))
    until(lambda: facade.count("dropped") == 1)
    counts = {each: facade.count(each) for each in ("received", "refused", "duplicate", "ignored", "started")}
    assert counts == {"received": 4, "refused": 1, "duplicate": 1, "ignored": 1, "started": 2}
    text = facade.get("/metrics").data.decode()
    assert "\nklever_harbor_queue 0.0\n" in text
    assert "\nklever_harbor_event_seconds_count 2.0\n" in text
    assert facade.get("/metrics").headers["content-type"].startswith("text/plain")


def test_a_log_is_one_line_of_json_whatever_is_in_it() -> None:
    record = logging.LogRecord("klever", logging.INFO, "", 0, 'a\n"b" %s\x1b', ("c\u2028",), None)
    record.fields = {"repository": "release/mnist", "tag": None}
    line = JsonFormatter().format(record)
    assert len(line.splitlines()) == 1
    document = json.loads(line)
    assert document["message"] == 'a\n"b" c\u2028\x1b'
    assert (document["level"], document["repository"], document["tag"]) == ("info", "release/mnist", None)
    try:
        raise RegistryUnavailableError("away")
    except RegistryUnavailableError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    line = JsonFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert "RegistryUnavailableError" in json.loads(line)["trace"]


def test_what_strangers_cause_is_told_seldom_and_counted() -> None:
    seldom = Seldom(0.05)
    assert seldom.count() == 1
    assert [seldom.count() for _ in range(3)] == [0, 0, 0]
    until(lambda: (told := seldom.count()) and told >= 4)


def test_settings_are_those_of_the_environment() -> None:
    settings = Settings.from_environment(
        {
            "KLEVER_PORT": "8443",
            "KLEVER_HARBOR_URL": "https://harbor.example:8443",
            "KLEVER_HOOK_SECRET_FILE": "/etc/klever/hook/secret",
            "KLEVER_PLAIN_HTTP": "true",
            "KLEVER_CA_FILE": "",
        }
    )
    assert (settings.port, settings.registry_host, settings.plain_http) == (8443, "harbor.example:8443", True)
    assert settings.secret_file == Path("/etc/klever/hook/secret")
    assert settings.takes_events
    assert settings.ca_file is None
    assert not Settings.from_environment({}).takes_events
    named = {"KLEVER_REGISTRY_HOST": "registry.example", "KLEVER_HARBOR_URL": "https://harbor.example/"}
    assert Settings.from_environment(named).registry_host == "registry.example"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KLEVER_PORT", "0"),
        ("KLEVER_PORT", "65536"),
        ("KLEVER_PORT", "80x"),
        ("KLEVER_PORT", "²"),
        ("KLEVER_WORKERS", "-1"),
        ("KLEVER_QUEUE_SIZE", "9" * 5000),
        ("KLEVER_PLAIN_HTTP", "perhaps"),
        ("KLEVER_LOG_LEVEL", "loud"),
        ("KLEVER_HARBOR_URL", "harbor.example"),
        ("KLEVER_HARBOR_URL", "file:///etc/passwd"),
        ("KLEVER_HARBOR_URL", "https://admin:Harbor12345@harbor.example"),
        ("KLEVER_HARBOR_URL", "https://[::1"),
        ("KLEVER_REGISTRY_HOST", "https://harbor.example"),
        ("KLEVER_REGISTRY_HOST", "harbor.example/release"),
        ("KLEVER_HARBOR_USERNAME_FILE", "/etc/klever/user"),
    ],
)
def test_a_variable_that_is_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({name: value})
    assert name in str(error.value)
    assert "Harbor12345" not in str(error.value)
