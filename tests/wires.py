"""A way to the API server that can be cut, and kubeconfigs that lead over it or have another user in them."""

import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class Wire:
    """A relay of bytes to the API server that can be cut, and stay cut."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._down = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self._down.is_set():
                    near.close()
                    continue
                far = socket.create_connection(self._target)
                self._open += [near, far]
                threading.Thread(target=self._relay, args=(near, far), daemon=True).start()

    @staticmethod
    def _relay(near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while True:
                for ready in select.select([near, far], [], [])[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        near.close()
                        far.close()
                        return
                    (far if ready is near else near).sendall(data)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Break every connection and take no new one for the time of the block."""
        self._down.set()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()
        yield
        self._down.clear()

    def close(self) -> None:
        self._listener.close()


def write_kubeconfig(
    path: Path, port: int | None = None, user: dict[str, str] | None = None, *, unchecked: bool = False
) -> Path:
    """Write the kubeconfig that KUBECONFIG names anew, with another address or another user, and return where.

    ``unchecked`` is for clients that cannot be told the server's name beside its address.
    """
    document = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text("utf-8"))
    for entry in document["clusters"]:
        if port is not None:
            settings = entry["cluster"]
            if unchecked:
                settings.pop("certificate-authority-data", None)
                settings.pop("certificate-authority", None)
                settings["insecure-skip-tls-verify"] = True
            else:
                settings["tls-server-name"] = urlsplit(settings["server"]).hostname
            settings["server"] = f"https://127.0.0.1:{port}"
    for entry in document["users"]:
        entry["user"] = user or entry["user"]
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path
