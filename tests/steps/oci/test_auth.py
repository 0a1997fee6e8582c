"""Challenges, token servers that may be asked, tokens that are kept."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fakes import Exchange, Fake, fake
from hypothesis import given
from hypothesis import strategies as st
from registries import QUICK

from klever.steps.errors import KleverError, RegistryRefusedError, RegistryUnavailableError, UnauthorizedError
from klever.steps.oci.auth import Authorizer, Challenge, join_scopes, parse_challenges
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.http import Transport
from klever.steps.oci.trust import Origin, check_realm, clean_url, follow


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        (["Basic"], [("basic", {})]),
        (['Basic realm="a, b=c"'], [("basic", {"realm": "a, b=c"})]),
        (
            ['Bearer realm="https://h/t",service="s",scope="repository:a/b:pull,push"'],
            [("bearer", {"realm": "https://h/t", "service": "s", "scope": "repository:a/b:pull,push"})],
        ),
        (["Bearer realm=https://h/t , service = s"], [("bearer", {"realm": "https://h/t", "service": "s"})]),
        (['Basic realm="x", Bearer realm="y"'], [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        (['Basic realm="x"', 'BEARER Realm="y"'], [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        (["Negotiate YII=, Basic realm=x"], [("negotiate", {}), ("basic", {"realm": "x"})]),
        ([r'Basic realm="say \"hi\" \\"'], [("basic", {"realm": 'say "hi" \\'})]),
        ([",, ;;"], []),
    ],
)
def test_challenges_are_parsed(values: list[str], expected: list[tuple[str, dict[str, str]]]) -> None:
    parsed = parse_challenges(values)
    assert parsed == [Challenge(*one) for one in expected]


@given(st.lists(st.text(alphabet='Bearer=", \\realm:/x\t;\x00é')))
def test_no_challenge_is_too_odd(values: list[str]) -> None:
    parse_challenges(values)


def test_scopes_are_united_by_resource() -> None:
    assert join_scopes(["repository:a:pull", "repository:b:pull"], ["repository:a:push,pull", "junk"]) == {
        "repository:a:pull,push",
        "repository:b:pull",
    }


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("https://harbor.example", "https://harbor.example/service/token"),
        ("https://harbor.example:8443", "https://harbor.example/service/token"),
        ("https://registry-1.docker.io", "https://auth.docker.io/token"),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
        ("https://ghcr.io", "https://ghcr.io/token"),
        ("https://registry.example.co.uk", "https://auth.example.co.uk/token"),
        ("https://example.com", "https://auth.example.com/token"),
        ("https://registry.cn-hangzhou.aliyuncs.com", "https://dockerauth.cn-hangzhou.aliyuncs.com/auth"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
        ("http://localhost:5000", "https://localhost/token"),
    ],
)
def test_a_token_server_of_the_registry_may_be_asked(registry: str, realm: str) -> None:
    check_realm(Origin.of(registry), realm, ())


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("https://harbor.example", "http://harbor.example/service/token"),
        ("https://harbor.example.com", "https://evil.example/token"),
        ("https://harbor.example.com", "https://harbor.example.com.evil.example/token"),
        ("https://harbor.example.com", "https://notexample.com/token"),
        ("https://example.co.uk", "https://evil.co.uk/token"),
        ("https://ghcr.io", "https://evil.io/token"),
        ("https://harbor.example.com", "https://169.254.169.254/latest/meta-data"),
        ("https://harbor.example.com", "https://localhost/token"),
        ("https://10.0.0.1", "https://10.0.0.2/token"),
        ("https://10.0.0.1", "https://0.1/token"),
        ("http://registry", "http://evil.registry/token"),
        ("https://harbor.example.com", "file:///etc/passwd"),
        ("https://harbor.example.com", "/token"),
        ("https://harbor.example.com", "https://"),
        ("https://harbor.example.com", "https://user:pass@harbor.example.com/token"),
        ("https://harbor.example.com", "https://harbor.example.com:99999/token"),
        ("https://harbor.example.com", "https://[::1"),
    ],
)
def test_another_token_server_may_not(registry: str, realm: str) -> None:
    with pytest.raises(UnauthorizedError) as refused:
        check_realm(Origin.of(registry), realm, ())
    assert "pass" not in str(refused.value).replace("passwd", "")


def test_another_token_server_may_be_allowed_but_never_in_plain() -> None:
    registry = Origin.of("https://harbor.example.com")
    check_realm(registry, "https://sso.other.example/token", ["sso.other.example"])
    check_realm(registry, "https://sso.other.example:444/token", ["sso.other.example:444"])
    with pytest.raises(UnauthorizedError, match="not encrypted"):
        check_realm(registry, "http://sso.other.example/token", ["sso.other.example"])


@pytest.mark.parametrize(
    ("base", "location", "expected"),
    [
        ("https://h/v2/x", "/up?a=1", "https://h/up?a=1"),
        ("https://h/v2/x", "https://s3.example/b", "https://s3.example/b"),
        ("http://h/v2/x", "https://s3.example/b", "https://s3.example/b"),
        ("https://h:8443/v2/x", "http://h/up?a=1", "https://h:8443/up?a=1"),
        ("http://127.0.0.1:1/x", "http://localhost:2/y", "http://localhost:2/y"),
    ],
)
def test_good_redirects_are_followed(base: str, location: str, expected: str) -> None:
    assert follow(base, location, "redirects") == expected


@pytest.mark.parametrize(
    ("base", "location"),
    [
        ("https://h/x", "http://other/y"),
        ("http://h/x", "http://127.0.0.1/y"),
        ("http://h/x", "http://169.254.169.254/latest"),
        ("http://h/x", "http://[::ffff:169.254.169.254]/latest"),
        ("http://h/x", "http://localhost:2375/containers"),
        ("http://h/x", "gopher://h/x"),
        ("http://h/x", "x" * 20_000),
    ],
)
def test_bad_redirects_are_not(base: str, location: str) -> None:
    with pytest.raises(RegistryRefusedError):
        follow(base, location, "redirects")


def test_an_address_is_shown_without_its_secrets() -> None:
    assert clean_url("https://u:p@h/x?X-Signature=s#f") == "https://h/x"


# Against a token server


@pytest.fixture
def transport() -> Iterator[Transport]:
    opened = Transport(retry=QUICK)
    yield opened
    opened.close()


class Tokens:
    """A token server that answers with ``answer`` and counts."""

    def __init__(self, **answer: Any) -> None:
        self.answer = answer
        self.status = 200

    def __call__(self, exchange: Exchange) -> None:
        exchange.body()
        exchange.reply(self.status, json.dumps(self.answer).encode())


def authorizer(
    server: Fake, transport: Transport, clock: list[float], credentials: Credentials | None = None
) -> Authorizer:
    origin = Origin.of(f"http://{server.host}")
    return Authorizer(server.host, origin, transport, lambda _host, _name: credentials, clock=lambda: clock[0])


PULL = frozenset(["repository:a:pull"])
BOTH = frozenset(["repository:a:pull,push"])


def test_tokens_are_kept_by_scope_until_they_expire(transport: Transport) -> None:
    clock = [0.0]
    with fake(Tokens(token="t1", expires_in=100)) as server:
        auth = authorizer(server, transport, clock)
        challenge = [f'Bearer realm="http://{server.host}/token",service="s"']
        assert auth.header(PULL) is None
        assert auth.answer(challenge, BOTH, "", None) == "Bearer t1"
        assert auth.header(PULL) == "Bearer t1"
        assert len(server.requests) == 1
        assert auth.header(frozenset(["repository:b:pull"])) == "Bearer t1"
        assert len(server.requests) == 2
        clock[0] = 91.0
        auth.header(PULL)
        assert len(server.requests) == 3


def test_a_token_that_the_registry_refused_is_not_used_again(transport: Transport) -> None:
    with fake(Tokens(token="t1")) as server:
        auth = authorizer(server, transport, [0.0])
        challenge = [f'Bearer realm="http://{server.host}/token"']
        first = auth.answer(challenge, PULL, "", None)
        auth.answer(challenge, PULL, "", first)
        assert len(server.requests) == 2


@pytest.mark.parametrize("life", [None, 0, -5, 10**30, "60", 1.5, True])
def test_an_odd_life_of_a_token_means_the_shortest(transport: Transport, life: object) -> None:
    clock = [0.0]
    with fake(Tokens(access_token="t", expires_in=life)) as server:
        auth = authorizer(server, transport, clock)
        auth.answer([f'Bearer realm="http://{server.host}/token"'], PULL, "", None)
        clock[0] = 53.0
        auth.header(PULL)
        assert len(server.requests) == 1
        clock[0] = 55.0
        auth.header(PULL)
        assert len(server.requests) == 2


@pytest.mark.parametrize("token", ["", None, 7, "a b", "a\r\nX-Evil: 1", "ü"])
def test_a_token_that_is_none_is_refused(transport: Transport, token: object) -> None:
    with fake(Tokens(token=token)) as server, pytest.raises(RegistryRefusedError):
        authorizer(server, transport, [0.0]).answer([f'Bearer realm="http://{server.host}/token"'], PULL, "", None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, UnauthorizedError), (403, UnauthorizedError), (503, RegistryUnavailableError), (302, RegistryRefusedError)],
)
def test_a_token_server_that_refuses_is_told_apart_from_one_that_fails(
    transport: Transport, status: int, kind: type[KleverError]
) -> None:
    tokens = Tokens()
    tokens.status = status
    with fake(tokens) as server:
        auth = authorizer(server, transport, [0.0], Credentials("alice", "hidden-secret"))
        with pytest.raises(kind) as failed:
            auth.answer([f'Bearer realm="http://{server.host}/token"'], PULL, "", None)
    assert "hidden-secret" not in str(failed.value)


def test_a_renewed_identity_token_takes_the_place_of_the_old(transport: Transport) -> None:
    bodies: list[bytes] = []

    def script(exchange: Exchange) -> None:
        bodies.append(exchange.body())
        exchange.reply(200, json.dumps({"access_token": "a", "refresh_token": "second", "expires_in": 60}).encode())

    clock = [0.0]
    with fake(script) as server:
        auth = authorizer(server, transport, clock, Credentials(identity_token="first"))
        auth.answer([f'Bearer realm="http://{server.host}/token",service="s"'], PULL, "", None)
        clock[0] = 1000.0
        auth.header(PULL)
    assert b"refresh_token=first" in bodies[0]
    assert b"refresh_token=second" in bodies[1]
    assert b"grant_type=refresh_token" in bodies[0]


def test_credentials_are_not_looked_up_before_the_registry_asks(transport: Transport) -> None:
    def find(_host: str, _repository: str) -> Credentials | None:
        raise AssertionError("looked up")

    auth = Authorizer("h", Origin.of("https://h"), transport, find)
    assert auth.header(PULL) is None


@pytest.mark.parametrize("values", [[], ["Negotiate"], ["Digest realm=x"], ["Bearer service=x"]])
def test_a_challenge_that_is_unknown_is_named(transport: Transport, values: list[str]) -> None:
    with pytest.raises(UnauthorizedError, match="Basic and Bearer"):
        Authorizer("h", Origin.of("https://h"), transport, lambda _h, _r: None).answer(values, PULL, "", None)


def test_a_password_that_was_refused_is_not_sent_again_and_again(transport: Transport) -> None:
    auth = Authorizer("h", Origin.of("https://h"), transport, lambda _h, _r: Credentials("alice", "wrong"))
    first = auth.answer(["Basic realm=x"], PULL, "a", None)
    assert auth.header(PULL, "a") == first
    assert auth.header(PULL, "b") is None
    with pytest.raises(UnauthorizedError, match="alice"):
        auth.answer(["Basic realm=x"], PULL, "a", first)
