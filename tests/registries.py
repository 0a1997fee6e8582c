"""Real registries on a loopback port, and a token server for them: processes that fixtures start and end.

The parts are a CNCF distribution 2.8 (``docker-registry`` of Debian) and 3 (``registry``); in a CI run both have to be
there, elsewhere tests of a missing one are skipped by name. Servers that misbehave are in ``fakes``.
"""

import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest

from klever.steps.oci.credentials import Credentials
from klever.steps.oci.http import Retry, Timeouts
from klever.steps.oci.registry import RegistryStore

#: Version to the program's names on the PATH, the variable that overrides them, and where else it may lie.
PROGRAMS = {
    "2.8": (("docker-registry",), "KLEVER_REGISTRY2", ()),
    "3": (("registry",), "KLEVER_REGISTRY3", ("~/.cache/klever-cluster/bin/registry",)),
}
USER, PASSWORD = "alice", "s3cret pass:word"
STARTED_SECONDS = 15.0
#: Retries that a test can wait for.
QUICK = Retry(tries=4, first=0.01, longest=0.05)


@dataclass(frozen=True)
class Registry:
    """A registry that runs."""

    version: str
    host: str
    root: Path
    ca_file: Path | None = None
    credentials: Credentials | None = None
    token_server: "TokenServer | None" = None

    @property
    def plain_http(self) -> bool:
        return self.ca_file is None

    def store(self, **options: Any) -> RegistryStore:
        """Open the registry with the credentials that it accepts, unless ``options`` say otherwise."""
        defaults: dict[str, Any] = {
            "plain_http": self.plain_http,
            "ca_file": self.ca_file,
            "credentials": self.credentials,
            "retry": QUICK,
            "timeouts": Timeouts(connect=5, read=5),
        }
        return RegistryStore(self.host, **{**defaults, **options})


Start = Callable[..., Registry]


def find_program(version: str) -> str | None:
    """Return the path of a registry's program."""
    names, variable, places = PROGRAMS[version]
    candidates = [os.environ.get(variable), *(shutil.which(name) for name in names)]
    candidates += [str(Path(place).expanduser()) for place in places]
    return next((path for path in candidates if path and os.access(path, os.X_OK)), None)


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port, by default of loopback, that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    version: str,
    directory: Path,
    *,
    delete: bool = True,
    tls: bool = False,
    basic: bool = False,
    token: bool = False,
    address: str = "127.0.0.1",
    port: int | None = None,
) -> Iterator[Registry]:
    """Run a registry with its storage and logs in ``directory``; what is stored there already is there again."""
    program = find_program(version)
    if program is None:
        _lack(f"CNCF distribution {version} (name its program in {PROGRAMS[version][1]})")
    for tool in ("openssl",) * (tls or token) + ("htpasswd",) * basic:
        if shutil.which(tool) is None:
            _lack(f"the program {tool}")
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_port(address)
    registry = Registry(version, f"{address}:{port}", directory / "root")
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(registry.root)}, "delete": {"enabled": delete}},
        "http": {"addr": registry.host},
    }
    with ExitStack() as stack:
        if tls:
            authority, certificate, key = make_certificates(directory)
            config["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
            registry = replace(registry, ca_file=authority)
        if basic:
            config["auth"] = {"htpasswd": {"realm": "models", "path": str(_write_htpasswd(directory))}}
            registry = replace(registry, credentials=Credentials(USER, PASSWORD))
        if token:
            server = stack.enter_context(token_server(directory))
            config["auth"] = {"token": server.settings}
            registry = replace(registry, credentials=Credentials(USER, PASSWORD), token_server=server)
        # JSON is YAML.
        path = directory / "config.yml"
        path.write_text(json.dumps(config))
        log = stack.enter_context((directory / "log").open("wb"))
        variables = {k: v for k, v in os.environ.items() if not k.startswith(("REGISTRY_", "OTEL_"))}
        process = subprocess.Popen(
            [program, "serve", str(path)], stdout=log, stderr=log, env={**variables, "OTEL_TRACES_EXPORTER": "none"}
        )
        try:
            _wait_until_it_listens(process, address, port, directory / "log")
            yield registry
        finally:
            process.kill()
            process.wait()


def _lack(what: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"a CI run has to have {what}")
    pytest.skip(f"needs {what}")


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", address: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + STARTED_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((address, port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail(f"the registry did not start: {log.read_text()[-2000:]}")


def make_certificates(directory: Path) -> tuple[Path, Path, Path]:
    """Make an authority and a certificate of it for 127.0.0.1; return authority, certificate and key."""
    authority, authority_key = directory / "ca.crt", directory / "ca.key"
    certificate, key, request = directory / "tls.crt", directory / "tls.key", directory / "tls.csr"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl(
        *("req", "-x509", *curve, "-keyout", authority_key, "-out", authority, "-days", "2"),
        *("-subj", "/CN=Klever test authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )
    _openssl("req", *curve, "-keyout", key, "-out", request, "-subj", "/CN=127.0.0.1")
    extensions = directory / "tls.ext"
    extensions.write_text(
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    _openssl(
        *("x509", "-req", "-in", request, "-CA", authority, "-CAkey", authority_key, "-CAcreateserial"),
        *("-out", certificate, "-days", "2", "-extfile", extensions),
    )
    return authority, certificate, key


def _openssl(*arguments: str | Path, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, check=True)
    return done.stdout


def _write_htpasswd(directory: Path) -> Path:
    path = directory / "htpasswd"
    # Cost 4: the registry checks the password on every request.
    line = subprocess.run(["htpasswd", "-BbnC", "4", USER, PASSWORD], capture_output=True, check=True).stdout
    path.write_bytes(line)
    return path


@dataclass
class TokenServer:
    """A token server by Docker's specification: `USER` may do everything, a stranger pull from ``public/``."""

    url: str
    key: Path
    certificate: Path
    #: (method, parameters, authorization) of each request, in order.
    requests: list[tuple[str, dict[str, list[str]], str]] = field(default_factory=list)
    identity_token: str = "the-identity-token"
    life_seconds: int = 300

    @property
    def settings(self) -> dict[str, str]:
        """What the registry's configuration says about it."""
        return {
            "realm": f"{self.url}/token",
            "service": "models",
            "issuer": "klever-tests",
            "rootcertbundle": str(self.certificate),
        }

    def answer(self, method: str, parameters: dict[str, list[str]], authorization: str) -> tuple[int, dict[str, Any]]:
        """Return status and document for a request."""
        self.requests.append((method, parameters, authorization))
        basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        known = authorization == basic
        if method == "POST":
            known = parameters.get("refresh_token") == [self.identity_token]
        if (authorization or method == "POST") and not known:
            return 401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong credentials"}]}
        scopes = [scope for value in parameters.get("scope", []) for scope in value.split()]
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":", 2)
            granted = actions.split(",") if known else ["pull"] if name.startswith("public/") else []
            access.append({"type": kind, "name": name, "actions": granted})
        name = "access_token" if method == "POST" else "token"
        return 200, {name: self._sign(access), "expires_in": self.life_seconds}

    def _sign(self, access: list[dict[str, Any]]) -> str:
        der = "".join(self.certificate.read_text().splitlines()[1:-1])
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [der]}
        claims = {
            "iss": "klever-tests",
            "sub": USER,
            "aud": "models",
            "iat": now,
            "nbf": now - 10,
            "exp": now + self.life_seconds,
            "jti": hashlib.sha256(os.urandom(8)).hexdigest()[:16],
            "access": access,
        }
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = _openssl("dgst", "-sha256", "-sign", self.key, stdin=signed.encode())
        return f"{signed}.{_base64url(signature)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def token_server(directory: Path) -> Iterator[TokenServer]:
    """Run a token server in this process."""
    key, certificate = directory / "token.key", directory / "token.crt"
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate),
        *("-days", "2", "-subj", "/CN=Klever test tokens"),
    )

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query))

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            self._answer(urllib.parse.parse_qs(self.rfile.read(length).decode()))

        def _answer(self, parameters: dict[str, list[str]]) -> None:
            status, document = server.answer(self.command, parameters, self.headers.get("Authorization", ""))
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with serving(Handler) as port:
        server = TokenServer(f"http://127.0.0.1:{port}", key, certificate)
        yield server


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], address: str = "127.0.0.1") -> Iterator[int]:
    """Serve a handler in threads of this process; give its port."""
    server = ThreadingHTTPServer((address, 0), handler)
    server.daemon_threads = True
    # A handler that stalls on purpose is not waited for.
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="session", params=tuple(PROGRAMS), ids=lambda version: f"registry-{version}")
def registry_version(request: pytest.FixtureRequest) -> str:
    """Each of the versions that tests run over."""
    return str(request.param)


@pytest.fixture(scope="session")
def registry(registry_version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A plain registry without credentials that allows deletion; shared, so use repositories of your own."""
    with running(registry_version, tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture
def start_registry(registry_version: str, tmp_path: Path) -> Iterator[Start]:
    """Start registries of other kinds: ``start_registry(tls=True, basic=True, token=True, delete=False)``."""
    with ExitStack() as stack:
        count = iter(range(100))

        def start(**kind: bool) -> Registry:
            return stack.enter_context(running(registry_version, tmp_path / f"registry{next(count)}", **kind))

        yield start


@pytest.fixture(scope="session")
def tls_registry(registry_version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that speaks TLS by an authority of its own and wants a user and a password."""
    with running(registry_version, tmp_path_factory.mktemp("tls"), tls=True, basic=True) as started:
        yield started


@pytest.fixture(scope="session")
def token_registry(registry_version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants tokens of a token server, which writes down what it was asked."""
    with running(registry_version, tmp_path_factory.mktemp("token"), token=True) as started:
        yield started
