"""Recognise what a path holds: the format, the files that make the model, and what the author wrote.

    >>> recognise(Path("resnet.onnx")).format.id  # doctest: +SKIP
    'ONNX'

A path is a bare model file, a directory with a model in it, or an ORMB package (``ormbfile.yaml`` beside ``model/``).
Content decides first, names second; what neither settles is an error that lists the candidates.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final, Generic, NamedTuple, TypeVar

from klever.steps.errors import (
    AmbiguousFormatError,
    MetadataError,
    MissingFilesError,
    NotFoundError,
    UnrecognisedFormatError,
    at_stage,
    storage_error,
)
from klever.steps.files import LocalFiles, ModelFiles, exists, names_in
from klever.steps.formats.interface import Claim, Evidence, Format, Precedence
from klever.steps.formats.table import all_formats, load_format
from klever.steps.model.metadata import Metadata

ORMBFILE: Final = "ormbfile.yaml"
MODEL_FOLDER: Final = "model"
#: Beside them in a package that was converted; what it says is in ``ormbfile.yaml`` too.
CERTIFICATE_FILE: Final = "certificate.json"
MAX_ORMBFILE_BYTES: Final = 4 << 20

#: What version control and file managers leave in a directory; never part of a model.
_LITTER: Final = frozenset({".git", ".DS_Store", ".ipynb_checkpoints", "__pycache__"})


Files = TypeVar("Files", bound=ModelFiles, covariant=True)


class Model(NamedTuple, Generic[Files]):
    """A recognised model: its files below ``model/``, its format, and what the author wrote, if anything."""

    files: Files
    format: Format
    claim: Claim
    author: Metadata | None = None
    notes: tuple[str, ...] = ()


def recognise(path: Path, *, format_id: str | None = None) -> Model[LocalFiles]:
    """Recognise a local path.

    ``format_id`` settles the format where content and names do not. Raises `UnrecognisedFormatError`,
    `AmbiguousFormatError`, `MissingFilesError`, `MetadataError` or `NotFoundError`.
    """
    with at_stage("recognise"):
        if not exists(path):
            raise NotFoundError(f"there is no file or directory {path}", next_step="check the path")
        if not path.is_dir():
            return _recognise_file(path, format_id)
        ormbfile = path / ORMBFILE
        if not ormbfile.is_file():
            files = _without_litter(LocalFiles.below(path))
            return Model(files, *choose(files, format_id))
        author = read_ormbfile(ormbfile)
        if not (path / MODEL_FOLDER).is_dir():
            raise MissingFilesError(
                f"{path} has an {ORMBFILE} but no folder {MODEL_FOLDER}/",
                missing=(f"{MODEL_FOLDER}/",),
                next_step=f"put the model's files into {path / MODEL_FOLDER}",
            )
        files = LocalFiles.below(path / MODEL_FOLDER)
        stray = [name for name in names_in(path) if name not in {ORMBFILE, MODEL_FOLDER, CERTIFICATE_FILE} | _LITTER]
        notes = (f"left out, as they are not below {MODEL_FOLDER}/: {', '.join(stray[:10])}",) if stray else ()
        return Model(files, *choose(files, format_id or author.format), author, notes)


def read_ormbfile(path: Path) -> Metadata:
    """Read an ``ormbfile.yaml``; raises `MetadataError`."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_ORMBFILE_BYTES + 1)
    except OSError as error:
        raise storage_error(f"cannot read {path}", error) from error
    if len(data) > MAX_ORMBFILE_BYTES:
        raise MetadataError(f"{path} is larger than {MAX_ORMBFILE_BYTES >> 20} MiB")
    return Metadata.from_yaml(data, str(path))


def choose(files: ModelFiles, format_id: str | None = None) -> tuple[Format, Claim]:
    """Choose the format of ``files`` and return its claim, which lacks nothing."""
    if not files.sizes:
        raise UnrecognisedFormatError("there are no files in the model", next_step="give the model's file or directory")
    if format_id is not None:
        return _stated(files, format_id)
    claims = [(form, claim) for form in all_formats() if (claim := form.claim(files))]
    for evidence in (Evidence.CONTENT, Evidence.NAME):
        found = _strongest([pair for pair in claims if pair[1].evidence == evidence])
        if found:
            return _settled(found)
    raise UnrecognisedFormatError(
        f"no known format fits {_listed(files.sizes)}",
        next_step="name the format with --format; --format Others takes any file",
    )


def _strongest(claims: list[tuple[Format, Claim]]) -> list[tuple[Format, Claim]]:
    """Keep the claims of the highest precedence, and among them the complete ones, if there are any."""
    highest = max((form.precedence for form, _ in claims), default=Precedence.FALLBACK)
    claims = [pair for pair in claims if pair[0].precedence == highest]
    return [pair for pair in claims if not pair[1].missing] or claims


def _settled(claims: list[tuple[Format, Claim]]) -> tuple[Format, Claim]:
    if len(claims) > 1:
        candidates = tuple(form.id for form, _ in claims)
        raise AmbiguousFormatError(
            "the model could be " + " or ".join(f"{form.id} ({', '.join(claim.files[:3])})" for form, claim in claims),
            candidates=candidates,
            next_step=f"decide with --format {candidates[0]}, or give the one file instead of the directory",
        )
    return _complete(*claims[0])


def _stated(files: ModelFiles, format_id: str) -> tuple[Format, Claim]:
    """Hold the files against the format that the author or the user states."""
    form = load_format(format_id)
    claim = form.claim(files)
    if claim is None:
        if form.precedence == Precedence.FALLBACK:
            return form, Claim(Evidence.NAME, tuple(files.sizes))
        others = [other.id for other in all_formats() if (c := other.claim(files)) and c.evidence == Evidence.CONTENT]
        held = f"they are {' or '.join(others)}" if others else f"it needs {form.needs}"
        raise UnrecognisedFormatError(
            f"{_listed(files.sizes)} cannot be {form.id}: {held}",
            next_step=f"state the format as {others[0]}" if others else "correct the format, or add the files",
        )
    return _complete(form, claim)


def _complete(form: Format, claim: Claim) -> tuple[Format, Claim]:
    if claim.competing:
        raise AmbiguousFormatError(
            f"{form.id} needs {form.needs}, and several files fit: {', '.join(claim.competing[:10])}",
            candidates=claim.competing,
            next_step="give the one file as the path, or move the others away",
        )
    if claim.missing:
        raise MissingFilesError(
            f"{', '.join(claim.files[:3])} belongs to a {form.id} model that also needs {' and '.join(claim.missing)}",
            missing=claim.missing,
            next_step="put the missing files beside it",
        )
    return form, claim


def _recognise_file(path: Path, format_id: str | None) -> Model[LocalFiles]:
    """Recognise one file, with those beside it that its format says belong to it."""
    alone = LocalFiles({path.name: path})
    siblings = _siblings(path)
    formats: Iterable[Format] = (load_format(format_id),) if format_id else all_formats()
    together = {path.name: path}
    for form in formats:
        if form.claim(alone):
            for name in form.companions(path.name, siblings):
                together.update(_companion(path.parent, name))
    files = LocalFiles(together)
    return Model(files, *choose(files, format_id))


def _siblings(path: Path) -> frozenset[str]:
    """Return the names beside a file, those of directories with a slash at their end."""
    names = (name for name in names_in(path.parent) if name not in _LITTER | {path.name})
    kinds = ((name, path.parent / name) for name in names)
    return frozenset(
        name if entry.is_file() else f"{name}/" for name, entry in kinds if entry.is_file() or entry.is_dir()
    )


def _companion(directory: Path, name: str) -> Mapping[str, Path]:
    if not name.endswith("/"):
        return {name: directory / name}
    below = _without_litter(LocalFiles.below(directory / name))
    return {f"{name}{inner}": path for inner, path in below.paths.items()}


def _without_litter(files: LocalFiles) -> LocalFiles:
    return LocalFiles(
        {name: path for name, path in files.paths.items() if not _LITTER.intersection(PurePosixPath(name).parts)}
    )


def _listed(sizes: Mapping[str, int]) -> str:
    names = list(sizes)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
