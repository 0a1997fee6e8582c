"""The table of servers, imported one by one when they are needed.

To add a server, add a row. Where several take a format, the first is the one that is meant.
"""

from collections.abc import Iterator
from importlib import import_module
from types import MappingProxyType
from typing import Final

from klever.steps.errors import ServingError
from klever.steps.serving.servers.interface import Server

#: Server id to its module.
MODULES: Final = MappingProxyType(
    {name: f"klever.steps.serving.servers.{name}" for name in ("triton", "mlserver", "openscoring")}
)


def load_server(name: str) -> Server:
    """Return the server of that name; raises `ServingError` with the known names otherwise."""
    if name not in MODULES:
        raise ServingError(f"there is no server {name[:40]!r}", next_step=f"use one of {', '.join(MODULES)}")
    found: Server = import_module(MODULES[name]).SERVER
    return found


def all_servers() -> Iterator[Server]:
    """Yield every server in the table's order."""
    for name in MODULES:
        yield load_server(name)


def server_for(format_id: str) -> Server:
    """Return the first server that takes a format as it is; raises `ServingError` where none does."""
    for server in all_servers():
        if format_id in server.formats:
            return server
    raise ServingError(
        f"no server takes {format_id} as it is", next_step="convert it first: klever plan --serve says to what"
    )
