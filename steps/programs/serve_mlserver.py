"""Start MLServer for the model in one directory.

    python serve_mlserver.py DIRECTORY

The directory holds ``model-settings.json`` and ``settings.json``; variables ``MLSERVER_*`` come before the latter.
``mlserver start`` takes twice as long, looks for modules in the model's directory before all others, and does not have
`serve_rest`. What does not belong here: models.
"""

from __future__ import annotations

import asyncio
import importlib.abc
import importlib.machinery
import json
import os
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

#: What MLServer imports in any case and uses when it is asked to; pandas alone takes as long as all of the rest.
_DEFERRED = ("opentelemetry", "pandas")
#: Asks for messages by Kafka, whose errors MLServer catches by their classes.
_KAFKA = "MLSERVER_KAFKA_ENABLED"


@contextmanager
def deferred(packages: Sequence[str]) -> Iterator[None]:
    """Let modules that are imported within take stand-ins for these packages, which are imported at their first use."""
    finder = _Finder(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        # Whoever imports them from now on gets the packages themselves.
        for name in [name for name, module in sys.modules.items() if isinstance(module, _StandIn)]:
            del sys.modules[name]


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every module of some packages, and makes stand-ins of them."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname.partition(".")[0] not in self._packages:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        del module


class _StandIn(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Deferred(name, (), {"__module__": self.__name__})


class _Deferred(type):
    """A class, as it stands in annotations and in ``isinstance``, of a module that is not imported yet."""

    def __call__(cls, *args: Any, **named: Any) -> Any:
        return _real(cls)(*args, **named)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real(cls), name)

    def __instancecheck__(cls, instance: Any) -> bool:
        # Nothing is of a class that nobody has imported.
        return cls.__module__ in sys.modules and isinstance(instance, _real(cls))


def _real(stand_in: type) -> Any:
    try:
        return getattr(importlib.import_module(stand_in.__module__), stand_in.__name__)
    except AttributeError:
        return importlib.import_module("%s.%s" % (stand_in.__module__, stand_in.__name__))


def main(directory: str) -> int:
    """Serve until a signal comes; returns the exit code."""
    directory = os.path.abspath(directory)
    # MLServer reads ".env" of the folder that it is started in.
    os.chdir("/")
    with deferred(_DEFERRED if os.environ.get(_KAFKA) else (*_DEFERRED, "aiokafka")):
        from mlserver.utils import install_uvloop_event_loop

    install_uvloop_event_loop()
    return asyncio.run(_serve(directory))


async def _serve(directory: str) -> int:
    from mlserver import MLServer
    from mlserver.settings import ModelSettings, Settings
    from serve_rest import routes

    told, model = _read(directory, "settings.json"), _read(directory, "model-settings.json")
    settings = Settings(**{key: value for key, value in told.items() if "MLSERVER_" + key.upper() not in os.environ})
    settings.model_repository_root = directory
    model["parameters"]["uri"] = os.path.join(directory, model["parameters"]["uri"])
    server = MLServer(settings)
    plane = server._data_plane
    server._rest_server._app.router.routes[:0] = routes(plane.infer)
    loaded = []

    async def note(model: Any) -> Any:
        loaded.append(model)
        return model

    server._model_registry._on_model_load.append(note)
    await server.start([ModelSettings.model_validate(model)])
    # It ends by itself where the model does not load.
    return 0 if any(each.ready for each in loaded) else 1


def _read(directory: str, name: str) -> dict[str, Any]:
    with open(os.path.join(directory, name), encoding="utf-8") as stream:
        document: dict[str, Any] = json.load(stream)
    return document


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
