"""Harbor's REST interface, asked over the stand-in, and servers that misbehave."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fakes import Exchange, fake
from harbor.server import StandIn, running_harbor
from registries import QUICK

from klever.api.harbor import errors
from klever.api.harbor.client import PAGE, Harbor, encode_repository, path_of
from klever.steps.oci.credentials import Credentials

pytestmark = pytest.mark.registry

ADMIN = Credentials("admin", "Harbor12345")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running_harbor(tmp_path_factory.mktemp("harbor")) as running:
        running.make_project("release")
        running.make_project("2026")
        running.seed("many", 3 * PAGE + 7, repositories=3)
        running.seed("deep", 2, repositories=1)
        yield running


@pytest.fixture
def harbor(served: StandIn) -> Iterator[Harbor]:
    with Harbor(served.url, ADMIN, retry=QUICK) as client:
        yield client


@pytest.mark.parametrize("workers", [0, 3])
def test_a_listing_goes_over_all_of_its_pages(harbor: Harbor, workers: int) -> None:
    if workers:
        with ThreadPoolExecutor(workers) as pool:
            listed = list(harbor.artifacts_of("many", pool))
    else:
        listed = list(harbor.artifacts_of("many"))
    assert len(listed) == 3 * PAGE + 7
    assert len({each["digest"] for each in listed}) == len(listed)
    # The order of the pages is kept.
    assert [each["id"] for each in listed] == sorted((each["id"] for each in listed), reverse=True)


def test_an_empty_listing_is_empty(harbor: Harbor) -> None:
    assert list(harbor.artifacts_of("release")) == []
    assert list(harbor.repositories("release")) == []


def test_projects_repositories_and_artifacts_are_found(harbor: Harbor) -> None:
    assert {"library", "release", "many"} <= {each["name"] for each in harbor.projects()}
    assert [each["name"] for each in harbor.repositories("many")] == ["many/model-2", "many/model-1", "many/model-0"]
    assert {each["repository_name"] for each in harbor.artifacts("many", "model-1")} == {"many/model-1"}
    found = harbor.artifact("many", "model-1", "v0")
    assert harbor.artifact("many", "model-1", found["digest"]) == found


def test_a_project_whose_name_is_a_number_is_found_by_its_name(harbor: Harbor, served: StandIn) -> None:
    assert harbor.project("2026")["name"] == "2026"
    by_id = served.inventory.project("release").id
    with pytest.raises(errors.HarborNotFoundError):
        harbor.project(str(by_id))


def test_a_repository_with_slashes_is_encoded_twice(harbor: Harbor, served: StandIn) -> None:
    data = json.dumps({"schemaVersion": 2, "layers": []}).encode()
    served.inventory.ensure_artifact("release/team/mnist", data, "application/json", None, "v1")
    assert encode_repository("team/mnist") == "team%252Fmnist"
    assert harbor.artifact("release", "team/mnist", "v1")["repository_name"] == "release/team/mnist"


def test_creating_what_exists_is_a_conflict(harbor: Harbor) -> None:
    document = {"project_name": "made", "metadata": {"public": "false"}}
    made = harbor.create("/projects", document)
    assert made.id == harbor.project("made")["project_id"]
    with pytest.raises(errors.HarborConflictError, match="The project named made already exists"):
        harbor.create("/projects", document)


def test_what_is_missing_is_not_found(harbor: Harbor) -> None:
    with pytest.raises(errors.HarborNotFoundError, match="project nope not found"):
        harbor.project("nope")
    assert not harbor.exists("/projects", {"project_name": "nope"})
    assert harbor.exists("/projects", {"project_name": "release"})


@pytest.mark.parametrize("credentials", [None, Credentials("admin", "wrong-one"), Credentials("robot$x", "y")])
def test_wrong_credentials_are_refused_without_being_shown(served: StandIn, credentials: Credentials | None) -> None:
    with (
        Harbor(served.url, credentials, retry=QUICK) as client,
        pytest.raises(errors.HarborUnauthorizedError, match="answers 401") as caught,
    ):
        client.project("release")
    assert "wrong-one" not in str(caught.value)
    assert "wrong-one" not in repr(client)


def test_a_robot_may_do_what_it_was_given(served: StandIn) -> None:
    robot = served.make_robot("many", "reader", ["artifact:list"])
    with Harbor(served.url, Credentials(robot.name, robot.secret), retry=QUICK) as client:
        assert sum(1 for _ in client.artifacts_of("many")) == 3 * PAGE + 7
        with pytest.raises(errors.HarborUnauthorizedError, match="answers 403"):
            next(client.artifacts_of("release"))


def test_no_cookie_is_sent_back(served: StandIn) -> None:
    cookies = []

    def script(exchange: Exchange) -> None:
        cookies.append(exchange.headers.get("Cookie"))
        exchange.reply(200, b"[]", {"Set-Cookie": "sid=secret; Path=/"})

    with fake(script) as server, Harbor(f"http://{server.host}", ADMIN) as client:
        for _ in range(3):
            client.get("/anything")
    assert cookies == [None, None, None]


def test_a_redirect_is_not_followed(served: StandIn) -> None:
    with fake(lambda exchange: exchange.reply(200, b"[]")) as other:

        def script(exchange: Exchange) -> None:
            exchange.reply(307, b"", {"Location": f"http://{other.host}/api/v2.0/projects"})

        with (
            fake(script) as server,
            Harbor(f"http://{server.host}", ADMIN, retry=QUICK) as client,
            pytest.raises(errors.HarborRefusedError, match="answers 307"),
        ):
            client.get("/projects")
        assert other.requests == []


def test_a_link_elsewhere_is_not_followed(served: StandIn) -> None:
    pages = []

    def script(exchange: Exchange) -> None:
        pages.append(exchange.query["page"][0])
        link = {"Link": '<http://elsewhere.example/api/v2.0/projects?page=9>; rel="next"'} if len(pages) < 3 else {}
        exchange.reply(200, b'[{"name": "x"}]', link | {"X-Total-Count": "3"})

    with fake(script) as server, Harbor(f"http://{server.host}", ADMIN) as client:
        assert len(list(client.projects())) == 3
    assert pages == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("headers", "sizes", "asked"),
    [
        ({}, [PAGE, PAGE, 3], 3),
        ({}, [PAGE, 0], 2),
        ({"X-Total-Count": str(PAGE + 1)}, [PAGE, 1], 2),
        ({"X-Total-Count": str(10 * PAGE)}, [PAGE, 0], 2),
    ],
    ids=["a-short-page", "an-empty-page", "by-the-count", "a-count-that-is-wrong"],
)
def test_a_listing_ends_by_what_it_tells(headers: dict[str, str], sizes: list[int], asked: int) -> None:
    def script(exchange: Exchange) -> None:
        number = int(exchange.query["page"][0])
        exchange.reply(200, json.dumps([{"id": number}] * sizes[number - 1]).encode(), headers)

    with fake(script) as server, Harbor(f"http://{server.host}", ADMIN) as client:
        assert len(list(client.projects())) == sum(sizes)
    assert len(server.requests) == asked


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_an_answer_for_now_is_asked_again_and_then_temporary(status: int) -> None:
    with (
        fake(lambda exchange: exchange.reply(status, b"{}")) as server,
        Harbor(f"http://{server.host}", ADMIN, retry=QUICK) as client,
    ):
        with pytest.raises(errors.HarborUnavailableError, match=f"answers {status}"):
            client.get("/projects")
        assert len(server.requests) == QUICK.tries


def test_a_long_page_of_a_proxy_is_no_answer_of_harbor() -> None:
    with (
        fake(lambda exchange: exchange.reply(502, b"<html>" + b"x" * (1 << 20))) as server,
        Harbor(f"http://{server.host}", ADMIN, retry=QUICK) as client,
        pytest.raises(errors.HarborUnavailableError, match=r"answers 502 to GET /projects$"),
    ):
        list(client.projects())


def test_a_creation_is_sent_once() -> None:
    """The second of two would be told that it exists, and never the secret that the first was told."""
    with (
        fake(lambda exchange: exchange.reply(503, b"{}")) as server,
        Harbor(f"http://{server.host}", ADMIN, retry=QUICK) as client,
    ):
        with pytest.raises(errors.HarborUnavailableError):
            client.create("/robots", {"name": "klever"})
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"<html>", "does not answer with JSON"), (b'{"a": 1}', "with a list"), (b"[1]", "with a list")],
)
def test_what_is_no_harbor_is_told(body: bytes, words: str) -> None:
    with (
        fake(lambda exchange: exchange.reply(200, body)) as server,
        Harbor(f"http://{server.host}", ADMIN, retry=QUICK) as client,
        pytest.raises(errors.HarborRefusedError, match=words),
    ):
        next(client.projects())


def test_a_harbor_that_is_away_is_temporary(tmp_path: Path) -> None:
    with (
        Harbor("http://127.0.0.1:9", ADMIN, retry=QUICK) as client,
        pytest.raises(errors.HarborUnavailableError, match=r"cannot reach Harbor at 127\.0\.0\.1:9"),
    ):
        client.project("release")


@pytest.mark.parametrize("url", ["", "ftp://harbor.example", "https://user:secret@harbor.example", "https://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(errors.HarborRefusedError, match="is not the address of a Harbor") as caught:
        Harbor(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("large", [(), (0,), (5, 6, 150), (299,)], ids=str)
def test_a_page_that_is_too_long_is_asked_for_in_parts(large: tuple[int, ...], workers: int) -> None:
    """Whoever may push models may push a hundred with a config of megabytes: the others are found all the same."""
    entries = [{"id": number, "config": "x" * (3 << 20 if number in large else 10)} for number in range(300)]
    longest = 0

    def script(exchange: Exchange) -> None:
        nonlocal longest
        number, size = (int(exchange.query[name][0]) for name in ("page", "page_size"))
        shown = entries[(number - 1) * size : number * size]
        body = json.dumps(shown).encode()
        longest = max(longest, len(body))
        exchange.reply(200, body, {"X-Total-Count": "300"})

    # Two of three megabytes are more than is read at once.
    entries[5]["config"] = entries[6]["config"] = "x" * (3 << 20)
    with fake(script) as server, Harbor(f"http://{server.host}", ADMIN) as client:
        if workers:
            with ThreadPoolExecutor(workers) as pool:
                listed = [each["id"] for each in client.list_by(pool, "/artifacts")]
        else:
            listed = [each["id"] for each in client.list_all("/artifacts")]
    assert listed == list(range(300))
    assert longest > 6 << 20


def test_an_entry_that_is_longer_than_any_config_is_passed_over() -> None:
    entries = [{"id": number, "config": "x" * (17 << 20 if number == 1 else 1)} for number in range(3)]

    def script(exchange: Exchange) -> None:
        number, size = (int(exchange.query[name][0]) for name in ("page", "page_size"))
        body = json.dumps(entries[(number - 1) * size : number * size]).encode()
        exchange.reply(200, body, {"X-Total-Count": "3"})

    with fake(script) as server, Harbor(f"http://{server.host}", ADMIN) as client:
        assert [each["id"] for each in client.list_all("/artifacts")] == [0, 2]


def test_a_password_may_have_any_letters() -> None:
    with (
        fake(lambda exchange: exchange.reply(200, b"{}")) as server,
        Harbor(f"http://{server.host}", Credentials("ada", "pässwört\u2713")) as client,
    ):
        client.get("/projects/x")
    sent = server.requests[0][2]["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent).decode() == "ada:pässwört\u2713"


def test_the_registry_s_host_follows_from_the_address() -> None:
    assert Harbor("https://harbor.example").registry_host == "harbor.example"
    assert Harbor("https://harbor.example:8443/").registry_host == "harbor.example:8443"
    assert Harbor("harbor.example").url == "https://harbor.example"


def test_names_are_one_part_of_a_path() -> None:
    assert path_of("projects", "a/b", "c?d#e") == "/projects/a%2Fb/c%3Fd%23e"
    for name in ("", ".", ".."):
        with pytest.raises(errors.HarborRefusedError):
            path_of("projects", name)
