"""Take a workflow in whatever form a person has it, and give the plain document that Argo would be sent.

A built or unbuilt Hera object, a YAML file, a Python file that builds one, or a mapping. What does not belong here:
what the document means.
"""

import contextlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol, runtime_checkable

import yaml

from klever.steps.errors import NotFoundError, PermanentError, storage_error

#: A workflow, template or other resource as JSON values.
Document = dict[str, Any]

#: etcd takes objects of 1.5 MiB; a file may hold several.
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
#: Aliases of YAML make a small file a huge document.
MAX_VALUES: Final = 1_000_000


class ManifestFileError(PermanentError):
    """A file or object is no workflow in any of the forms that are understood."""

    usual_step = "give a YAML file, a Python file that builds workflows with Hera, or such an object"


@runtime_checkable
class Authored(Protocol):
    """An object of Hera: ``hera.workflows.Workflow``, ``WorkflowTemplate`` and their kin."""

    def to_dict(self) -> Any:
        """Build it and return the document."""


@runtime_checkable
class Built(Protocol):
    """What Hera's ``build()`` returns: a pydantic model of ``hera.workflows.models``."""

    def model_dump_json(self, *, by_alias: bool, exclude_none: bool) -> str:
        """Return the document as JSON."""


@runtime_checkable
class _OlderBuilt(Protocol):
    """Hera's models where they are of pydantic's version 1."""

    def json(self, *, by_alias: bool, exclude_none: bool) -> str:
        """Return the document as JSON."""


Workflow = Authored | Built | Mapping[str, Any]


def load(workflow: Workflow) -> Document:
    """Return a workflow as a plain document of its own; raises `ManifestFileError`.

    The document is not checked beyond being an object of JSON values.
    """
    if isinstance(workflow, Mapping):
        document: Any = workflow
    elif isinstance(workflow, Authored) and hasattr(workflow, "build"):
        document = workflow.to_dict()
    elif isinstance(workflow, Built):
        document = json.loads(workflow.model_dump_json(by_alias=True, exclude_none=True))
    elif isinstance(workflow, _OlderBuilt):
        document = json.loads(workflow.json(by_alias=True, exclude_none=True))
    else:
        raise ManifestFileError(f"a {type(workflow).__name__} is no workflow", stage="read")
    return _plain(document, "the workflow")


def _plain(document: Any, what: str) -> Document:
    """Return a copy that shares nothing, of JSON values only."""
    for count, _ in enumerate(_values(document, 0)):
        if count > MAX_VALUES:
            raise ManifestFileError(f"{what} has more than {MAX_VALUES} values", stage="read")
    try:
        plain = json.loads(json.dumps(document, default=_json_value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ManifestFileError(f"{what} holds what is no JSON: {error}", stage="read") from error
    if not isinstance(plain, dict):
        raise ManifestFileError(f"{what} is a {type(plain).__name__}, not an object with fields", stage="read")
    return plain


def _values(value: Any, depth: int) -> Iterator[None]:
    yield None
    if depth > 200:
        raise ManifestFileError("a document is nested deeper than 200 levels", stage="read")
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _values(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _values(inner, depth + 1)


def _json_value(value: Any) -> Any:
    # YAML reads 2024-01-01 as a date, which Kubernetes' reader leaves a text.
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    msg = f"a value of type {type(value).__name__}"
    raise TypeError(msg)


def read_documents(path: Path) -> list[Document]:
    """Return the documents of a YAML or JSON file, or of a Python file that builds workflows with Hera, in order.

    A Python file is the caller's own program and is run. Of it every workflow and template of the module's level is
    taken. Raises `ManifestFileError`, `NotFoundError`, `StorageError`.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}", stage="read", next_step="check the path") from error
    except OSError as error:
        raise storage_error(f"reading {path}", error) from error
    if size > MAX_FILE_BYTES:
        raise ManifestFileError(f"{path.name} has {size} bytes, more than {MAX_FILE_BYTES}", stage="read")
    documents = _run_python(path) if path.suffix == ".py" else _read_yaml(path)
    if not documents:
        raise ManifestFileError(f"{path.name} holds no workflow", stage="read")
    return documents


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: dates stay texts."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read_yaml(path: Path) -> list[Document]:
    try:
        text = path.read_text(encoding="utf-8")
        read = list(yaml.load_all(text, Loader=_Loader))
    except UnicodeDecodeError as error:
        raise ManifestFileError(f"{path.name} is no text in UTF-8", stage="read") from error
    except yaml.YAMLError as error:
        raise ManifestFileError(f"{path.name} is no YAML: {_one_line(error)}", stage="read") from error
    except RecursionError as error:
        raise ManifestFileError(f"{path.name} is nested too deeply", stage="read") from error
    except OSError as error:
        raise storage_error(f"reading {path}", error) from error
    documents: list[Document] = []
    for number, document in enumerate(read, start=1):
        if document is None:
            continue
        plain = _plain(document, f"document {number} of {path.name}")
        listed = plain.get("items") if plain.get("kind") == "List" else None
        documents += [_plain(item, path.name) for item in listed] if isinstance(listed, list) else [plain]
    return documents


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _run_python(path: Path) -> list[Document]:
    try:
        with _importing_beside(path):
            return _documents_of(_import_file(path))
    except SystemExit as error:
        raise ManifestFileError(
            f"{path.name} ends its interpreter with exit code {error.code}", stage="read"
        ) from error
    except ManifestFileError:
        raise
    except Exception as error:
        raise ManifestFileError(
            f"{path.name} cannot be run: {type(error).__name__}: {_one_line(error)}",
            stage="read",
            next_step="run the file with python to see where it fails",
        ) from error


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ManifestFileError(f"{path.name} is no Python file", stage="read")
    module = importlib.util.module_from_spec(spec)
    # What looks up the module of a function or class while the file runs has to find it.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _documents_of(module: ModuleType) -> list[Document]:
    found: list[Document] = []
    seen: set[int] = set()
    for value in vars(module).values():
        if id(value) not in seen and _is_workflow(value):
            seen.add(id(value))
            found.append(load(value))
    return found


@contextlib.contextmanager
def _importing_beside(path: Path) -> Iterator[None]:
    """Let the file import its neighbours, and leave the interpreter as it was."""
    before = list(sys.path)
    arguments = list(sys.argv)
    module = sys.modules.get(path.stem)
    sys.path.insert(0, str(path.resolve().parent))
    sys.argv[:] = [str(path)]
    try:
        yield
    finally:
        sys.path[:] = before
        sys.argv[:] = arguments
        if module is None:
            sys.modules.pop(path.stem, None)
        else:
            sys.modules[path.stem] = module


#: What a Python file is looked through for; other objects of Hera are parts of these.
_KINDS: Final = ("Workflow", "WorkflowTemplate")


def _is_workflow(value: object) -> bool:
    """Say whether a value of a module is a workflow or template of Hera, built or not, and not a class."""
    if isinstance(value, type) or not (isinstance(value, Authored | Built | _OlderBuilt)):
        return False
    origin = any(kind.__module__.split(".")[0] == "hera" for kind in type(value).__mro__)
    return origin and any(kind.__name__ in _KINDS for kind in type(value).__mro__)
