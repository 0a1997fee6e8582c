"""Give a task's process a private place that stands for its pod's file system.

The paths that a pod's volumes are mounted at, and those that its outputs are read from, lie below the staging
directory; wherever such a path stands in command, arguments, environment or script, it is replaced. What does not
belong here: starting the process.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from klever.workflows.local.errors import TemplateError
from klever.workflows.local.fields import is_absent

#: Where Kubernetes reads a container's last words from.
MESSAGE_PATH: Final = "/dev/termination-log"
#: Where Hera's script runner writes outputs, unless ``hera__outputs_directory`` says otherwise.
HERA_OUTPUTS: Final = "/tmp/hera-outputs"  # noqa: S108 - a path inside a pod, replaced by one in the staging directory
#: What may not stand right before or after a path for it to be that path.
_BEFORE: Final = r"(?<![\w./-])"
_AFTER: Final = r"(?![\w.-])"


@dataclass
class Staging:
    """A directory with mode 0700, and which of the pod's paths lie in it."""

    directory: Path
    #: The pod's path, and the place that stands for it.
    places: dict[str, Path] = field(default_factory=dict)
    #: Where volumes would be mounted that are absent.
    absent: list[str] = field(default_factory=list)
    _pattern: re.Pattern[str] | None = None

    @classmethod
    def make(cls, directory: Path, template: Mapping[str, Any], volumes: list[Mapping[str, Any]]) -> "Staging":
        """Make the directory and what the template wants in it; raises `TemplateError`, `OSError`."""
        directory.mkdir(mode=0o700, parents=False)
        staging = cls(directory)
        (directory / "root").mkdir()
        (directory / "tmp").mkdir()
        (directory / "work").mkdir()
        container = template.get("container") or template.get("script") or {}
        known = {volume["name"]: volume for volume in volumes}
        for mount in container.get("volumeMounts") or []:
            if is_absent(known[mount["name"]]):
                staging.absent.append(_checked(mount["mountPath"]))
            else:
                staging._add_directory(mount["mountPath"])
        for parameter in (template.get("outputs") or {}).get("parameters") or []:
            if path := (parameter.get("valueFrom") or {}).get("path"):
                staging._add_file(path)
        if work := container.get("workingDir"):
            staging._add_directory(work)
        if any(path.startswith(f"{HERA_OUTPUTS}/") for path in staging.places):
            staging._add_directory(HERA_OUTPUTS)
        staging._add_file(container.get("terminationMessagePath") or MESSAGE_PATH)
        staging.message_file.touch(mode=0o600)
        return staging

    @property
    def message_file(self) -> Path:
        """Where the process leaves its last words."""
        return self.directory / "message"

    @property
    def progress_file(self) -> Path:
        """Where the process leaves its progress."""
        return self.directory / "progress"

    def place_of(self, path: str) -> Path:
        """Return what stands for a path of the pod."""
        return self.directory / "root" / _checked(path).lstrip("/")

    def _add_directory(self, path: str) -> None:
        place = self.place_of(path)
        place.mkdir(parents=True, exist_ok=True)
        self.places[_checked(path)] = place

    def _add_file(self, path: str) -> None:
        checked = _checked(path)
        if checked == MESSAGE_PATH:
            self.places[checked] = self.message_file
            return
        place = self.place_of(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        self.places[checked] = place

    def localise(self, text: str) -> str:
        """Return ``text`` with each of the pod's paths replaced by what stands for it."""
        if self._pattern is None:
            longest_first = sorted(self.places, key=len, reverse=True)
            alternatives = "|".join(re.escape(path) for path in longest_first)
            self._pattern = re.compile(f"{_BEFORE}(?:{alternatives}){_AFTER}")
        return self._pattern.sub(lambda match: str(self.places[match[0]]), text)

    def points_to_absent(self, value: str) -> bool:
        """Say whether a value is a path in a volume that is absent."""
        return any(value == path or value.startswith(f"{path}/") for path in self.absent)


def _checked(path: str) -> str:
    """Return an absolute path without detours; raises `TemplateError` for any other."""
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts or str(pure) == "/" or "\0" in path:
        raise TemplateError(f"{path!r} is no absolute path below /, as a pod's paths have to be")
    return os.path.normpath(path)
