"""Lay a model out for a server: pulled by digest, verified, and in the places where the server looks for it.

    provision(ModelUri(parse_reference("harbor.example/vision/resnet:v1")), Path("/mnt/models"), Stores())

The layer is unpacked beside its place and its files are renamed into it, so nothing is copied, and what a server sees
is whole. What does not belong here: what a server's directory looks like, which is its module's matter.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from klever.steps.artifact import StoredArtifact, load_artifact
from klever.steps.errors import AlreadyExistsError, ServingError, at_stage, storage_error
from klever.steps.extract import extract
from klever.steps.files import LocalFiles
from klever.steps.model.signature import Signature
from klever.steps.oci.staging import staged_directory
from klever.steps.oci.unpack import unpack
from klever.steps.recognise import MODEL_FOLDER, Model, choose
from klever.steps.serving.servers.interface import Layout, ServedModel, Server
from klever.steps.serving.servers.table import load_server, server_for
from klever.steps.serving.uri import ModelUri, check_name
from klever.steps.stores import Stores
from klever.steps.transfer import Watch, try_again, unwatched

#: In the model's own directory: says what lies there, so that a container that starts again finds its work done.
_MARK: Final = ".klever.json"
#: Where the layer lies until its files are in their places.
_UNPACKED: Final = ".unpacked"
#: What else may lie there: what a killed run was at, and what a file system has at its root.
_OURS: Final = (".klever", "..klever.klever-", "lost+found")


@dataclass(frozen=True)
class Provision:
    """A model in its place."""

    artifact: StoredArtifact
    server: Server
    name: str
    #: The model's own directory.
    directory: Path
    #: What clients see that the model takes and gives.
    signature: Signature
    #: What a person should know of the layout.
    notes: tuple[str, ...] = ()
    #: Whether it lay there already.
    found: bool = False


def provision(
    uri: ModelUri, directory: Path, stores: Stores, *, format_id: str | None = None, watch: Watch = unwatched
) -> Provision:
    """Lay the model of ``uri`` out in ``directory``, where the server finds it as ``directory/NAME``.

    A URI without a name means the model's own directory, as manifests of Klever 0.2 do: ``/mnt/NAME``. What was laid
    out in the model's place before is replaced, and nothing else: `AlreadyExistsError`. Raises `ServingError` for a
    model that the server does not take, and what `klever.steps.fetch.fetch` raises.
    """
    own = directory / uri.name if uri.name else directory
    name = check_name(own.resolve().name)
    store = stores.open(uri.reference)
    artifact = load_artifact(store, uri.reference, format_id=format_id)
    with at_stage("plan"):
        server = load_server(uri.server) if uri.server else server_for(artifact.metadata.format)
        if artifact.metadata.format not in server.formats:
            raise ServingError(
                f"{server.id} does not take {artifact.metadata.format}",
                next_step=f"klever plan {uri.reference} --serve --server {server.id} says what to convert it to",
            )
    made = {"digest": artifact.descriptor.digest, "server": server.id, "tuning": asdict(uri.tuning)}
    mark = _read_mark(own)
    if mark.get("made") == made:
        return Provision(artifact, server, name, own, Signature.model_validate(mark["signature"]), found=True)
    _check_ours(own)
    layer = artifact.manifest.layer

    def transfer() -> Provision:
        with _placed(own, within=not uri.name) as staging:
            unpacked = staging / _UNPACKED
            with at_stage("unpack"):
                unpacked.mkdir()
                with watch("fetch", layer.size) as progress:
                    unpack(store.get_blob(uri.reference.repository, layer, progress=progress), unpacked)
            with at_stage("lay out"):
                model = _served(name, unpacked / MODEL_FOLDER, artifact)
                if lacks := server.lacks(model):
                    raise ServingError(lacks[0], next_step="tell it in ormbfile.yaml and publish the model again")
                layout = server.layout(model, uri.tuning)
                seen = layout.seen or model.signature
                try:
                    _arrange(layout, unpacked / MODEL_FOLDER, staging)
                    shutil.rmtree(unpacked)
                    said = json.dumps({"made": made, "signature": seen.to_json()})
                    (staging / _MARK).write_text(said, encoding="utf-8")
                except OSError as error:
                    raise storage_error(f"cannot write to {own}", error) from error
                return Provision(artifact, server, name, own, seen, layout.notes)

    return try_again(transfer)


def _served(name: str, folder: Path, artifact: StoredArtifact) -> ServedModel:
    files = LocalFiles.below(folder)
    form, claim = choose(files, artifact.metadata.format)
    metadata = artifact.metadata
    if not artifact.has_full_signature:
        metadata = extract(Model(files, form, claim, metadata)).metadata
    return ServedModel(name, form.id, files, claim, metadata.signature or Signature(), metadata)


@contextmanager
def _placed(own: Path, *, within: bool) -> Iterator[Path]:
    """Yield a directory that becomes ``own`` when the block ends well.

    ``within``: ``own`` may be where a volume is mounted, which no rename replaces: what was made is moved into it.
    """
    if not within:
        with staged_directory(own, force=True) as staging:
            yield staging
        return
    made = own / ".klever"
    with staged_directory(made, force=True) as staging:
        yield staging
    try:
        # Until the right mark comes, last of all, nothing here counts; and from the first on it is ours.
        (own / _MARK).write_text("{}", encoding="utf-8")
        for each in sorted(made.iterdir(), key=lambda path: path.name == _MARK):
            place = own / each.name
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            each.replace(place)
        made.rmdir()
    except OSError as error:
        raise storage_error(f"cannot write to {own}", error) from error


def _arrange(layout: Layout, source: Path, staging: Path) -> None:
    """Put files and texts where the layout says: renamed, or linked where one file has several places."""
    places: dict[str, list[Path]] = {}
    for place, file in layout.files.items():
        places.setdefault(file, []).append(_below(staging, place))
    for file, (first, *others) in places.items():
        first.parent.mkdir(parents=True, exist_ok=True)
        (source / file).rename(first)
        for other in others:
            other.parent.mkdir(parents=True, exist_ok=True)
            other.hardlink_to(first)
    for place, text in layout.texts.items():
        path = _below(staging, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


def _below(directory: Path, place: str) -> Path:
    parts = PurePosixPath(place).parts
    if not parts or place.startswith("/") or ".." in parts:
        raise ServingError(f"the layout names {place[:80]!r}, which is not below its directory")
    return directory.joinpath(*parts)


def _check_ours(own: Path) -> None:
    """Raise `AlreadyExistsError` for a directory in which something lies that no run of this has put there."""
    try:
        found = [each.name for each in own.iterdir()]
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(f"cannot read {own}", error) from error
    if _MARK not in found and any(not name.startswith(_OURS) for name in found):
        raise AlreadyExistsError(
            f"{own} holds something else than a model that was laid out", next_step="choose an empty directory"
        )


def _read_mark(own: Path) -> dict[str, Any]:
    try:
        mark = json.loads((own / _MARK).read_bytes())
    except (OSError, ValueError):
        return {}
    return mark if isinstance(mark, dict) and isinstance(mark.get("signature"), dict) else {}
