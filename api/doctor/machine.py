"""Checks of this machine: its Python, the extras of Klever, and the directories that work is done in.

What does not belong here: anything that takes a network.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from klever.api.doctor.check import Check, Probe, failed, ok, skipped, warning
from klever.api.text import human_size
from klever.steps.environments.locate import environments_directory
from klever.steps.stores import STORE_FOLDER, home_directory

_OLDEST_PYTHON: Final = (3, 11)
#: Extra to what of it is imported, and what it is for.
_EXTRAS: Final = {
    "convert": (("numpy", "onnx", "onnxruntime"), "to convert in process"),
    "workflows": (("hera", "kubernetes"), "to run pipelines on Argo and to speak to a cluster"),
    "api": (("fastapi", "kopf", "kubernetes", "prometheus_client", "uvicorn"), "to run the controller and the server"),
}
#: Models are mostly larger than this, in bytes.
_LITTLE_ROOM: Final = 1 << 30


def probes(*, keeps: bool = True) -> dict[str, Probe]:
    """Return the checks of this machine, without its directories where it ``keeps`` nothing, as a pod of ours does."""
    made: dict[str, Probe] = {"python": _python, "extras": _extras}
    if not keeps:
        return made
    return made | {
        "store": lambda: _directory("store", home_directory() / STORE_FOLDER, "KLEVER_HOME"),
        "environments": lambda: _directory("environments", environments_directory(), "KLEVER_ENVIRONMENTS"),
    }


def klever_version() -> str:
    """Return the version of this Klever; ``unknown`` where it runs without having been installed."""
    try:
        return version("klever")
    except PackageNotFoundError:
        return "unknown"


def _python() -> Iterator[Check]:
    running = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _OLDEST_PYTHON:
        oldest = ".".join(map(str, _OLDEST_PYTHON))
        yield failed("python", f"Python {running}", f"use Python {oldest} or a later one")
    else:
        yield ok("python", f"Python {running}, Klever {klever_version()}")


def _extras() -> Iterator[Check]:
    for extra, (modules, purpose) in _EXTRAS.items():
        name = f"extra {extra}"
        missing = [module for module in modules if find_spec(module) is None]
        if not missing:
            yield ok(name, f"installed, {purpose}")
        elif len(missing) < len(modules):
            yield warning(name, f"{', '.join(missing)} missing, needed {purpose}", f"pip install 'klever[{extra}]'")
        else:
            yield skipped(name, f"not installed; only needed {purpose}", f"pip install 'klever[{extra}]'")


def _directory(name: str, directory: Path, variable: str) -> Iterator[Check]:
    """Check that files can be made in a directory, or that it can be made."""
    there = directory
    while not there.exists() and there != there.parent:
        there = there.parent
    advice = f"give yourself the right to write there, or set {variable} to another directory"
    if not there.is_dir():
        yield failed(name, f"{there} is not a directory", f"remove it, or set {variable} to another directory")
        return
    try:
        if there == directory:
            # Read-only mounts and full disks do not show in the mode.
            with TemporaryFile(dir=directory) as file:
                file.write(b"klever")
        elif not os.access(there, os.W_OK | os.X_OK):
            yield failed(name, f"{directory} cannot be made: {there} is not writable", advice)
            return
        room = shutil.disk_usage(there).free
    except OSError as error:
        yield failed(name, f"{directory} cannot be written: {error.strerror or error}", advice)
        return
    told = f"{directory}, {human_size(room)} free" + ("" if there == directory else "; it is made when it is needed")
    if room < _LITTLE_ROOM:
        yield warning(name, told, "make room on this disk: models do not fit")
    else:
        yield ok(name, told)
