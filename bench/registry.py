"""A CNCF registry on loopback, a client that only sends, and a relay that counts what goes through."""

import http.client
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def registry_binaries() -> dict[str, str]:
    """Return the installed registries, Debian's and version 3's, by a name for the table."""
    found = {"registry 2.8": shutil.which("docker-registry"), "registry 3": shutil.which("registry")}
    return {name: path for name, path in found.items() if path}


@contextmanager
def running_registry(binary: str, root: Path, address: str = "127.0.0.1") -> Iterator[str]:
    """Start a registry over ``root`` and give its host and port."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        host = f"{address}:{probe.getsockname()[1]}"
    config = root / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
        f"storage: {{filesystem: {{rootdirectory: {root / 'data'}}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '{host}'}}\n"
    )
    with (root / "log").open("wb") as log:
        process = subprocess.Popen([binary, "serve", str(config)], stdout=log, stderr=log)
    try:
        for _ in range(100):
            with suppress(OSError):
                connection = http.client.HTTPConnection(host, timeout=5)
                connection.request("GET", "/v2/")
                connection.getresponse().read()
                connection.close()
                break
            time.sleep(0.1)
        else:
            raise SystemExit(f"the registry did not start: {(root / 'log').read_text()[-500:]}")
        yield host
    finally:
        process.terminate()
        process.wait()


def upload_location(host: str, repository: str) -> str:
    """Begin an upload and return the address to PUT to."""
    connection = http.client.HTTPConnection(host)
    connection.request("POST", f"/v2/{repository}/blobs/uploads/")
    response = connection.getresponse()
    response.read()
    location = str(response.getheader("Location"))
    connection.close()
    return location if location.startswith("http") else f"http://{host}{location}"


@contextmanager
def counting_relay(host: str) -> Iterator[tuple[str, list[int]]]:
    """Relay connections to ``host``; give the relay's address and a list whose sum is the bytes from the server."""
    counted: list[int] = []
    server = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket, count: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if count:
                    counted.append(len(data))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                upstream = socket.create_connection(host.rsplit(":", 1))
                threading.Thread(target=pump, args=(client, upstream, False), daemon=True).start()
                threading.Thread(target=pump, args=(upstream, client, True), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}", counted
    finally:
        server.close()
        os.sched_yield()
