"""Where secrets are kept: in a cluster, or in a file of manifests for whoever applies it.

What does not belong here: what is in them (`klever.api.harbor.secrets`).
"""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import yaml

from klever.steps.errors import PermanentError, storage_error
from klever.workflows.argo.apply import apply
from klever.workflows.argo.client import Cluster, Resource
from klever.workflows.argo.errors import ClusterObjectMissingError

Document = dict[str, Any]

SECRETS: Final = Resource("", "secrets", "v1")
_HEAD: Final = (
    "# Written by klever harbor setup. It holds passwords: apply it with kubectl apply -f, and keep it safe.\n"
)


class ForeignFileError(PermanentError):
    """The file that manifests are to be written to holds something else."""

    usual_step = "name another file with --output"


class Keeping(Protocol):
    """A place for secrets."""

    def read(self, name: str, namespace: str) -> Document | None:
        """Return a secret; None where there is none."""

    def check(self, documents: Iterable[Document]) -> None:
        """Raise what `write` would raise, and change nothing."""

    def write(self, document: Document) -> None:
        """Create a secret, or bring it to what the document says."""


class InCluster:
    """Secrets of a cluster; raises the errors of `klever.workflows.argo.errors`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def read(self, name: str, namespace: str) -> Document | None:
        """Return a secret; None where there is none."""
        try:
            return self._cluster.get(SECRETS.path(namespace, name))
        except ClusterObjectMissingError:
            return None

    def check(self, documents: Iterable[Document]) -> None:
        """Have the API server check the documents with the rights that there are, and change nothing."""
        for document in documents:
            self._apply(document, dry_run=True)

    def write(self, document: Document) -> None:
        """Create a secret, or bring it to what the document says."""
        self._apply(document, dry_run=False)

    def _apply(self, document: Document, *, dry_run: bool) -> None:
        namespace = document["metadata"]["namespace"]
        try:
            # Whoever set a field before is told by the command's own lines what becomes of it.
            list(apply(self._cluster, [document], dry_run=dry_run, force=True))
        except ClusterObjectMissingError as error:
            error.next_step = f"make the namespace, or name another one: kubectl create namespace {namespace}"
            raise


class InFile:
    """Manifests in one file that only its owner reads; what was written there before is found again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._documents: dict[tuple[str, str], Document] = {}
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
        except UnicodeDecodeError:
            text = "?"
        except OSError as error:
            raise storage_error(f"cannot read {path}", error) from error
        if text and not text.startswith(_HEAD):
            raise ForeignFileError(f"{path} was not written by klever harbor setup")
        try:
            for document in yaml.safe_load_all(text):
                metadata = document["metadata"]
                self._documents[metadata["name"], metadata["namespace"]] = document
        except (yaml.YAMLError, LookupError, TypeError):
            raise ForeignFileError(f"{path} is no longer what klever harbor setup wrote") from None

    def read(self, name: str, namespace: str) -> Document | None:
        """Return a secret; None where there is none."""
        return self._documents.get((name, namespace))

    def check(self, documents: Iterable[Document]) -> None:  # noqa: ARG002 - any document can be written
        """Raise where the directory cannot be written."""
        try:
            descriptor, staged = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
            os.close(descriptor)
            Path(staged).unlink()
        except OSError as error:
            raise storage_error(f"cannot write {self._path}", error) from error

    def write(self, document: Document) -> None:
        """Put a secret into the file, which is replaced as a whole."""
        metadata = document["metadata"]
        self._documents[metadata["name"], metadata["namespace"]] = document
        staged = ""
        try:
            # Its mode is 0600.
            descriptor, staged = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(_HEAD)
                yaml.safe_dump_all(self._documents.values(), file, sort_keys=False, explicit_start=True)
                file.flush()
                os.fsync(file.fileno())
            Path(staged).replace(self._path)
        except OSError as error:
            with suppress(OSError):
                Path(staged).unlink()
            raise storage_error(f"cannot write {self._path}", error) from error
