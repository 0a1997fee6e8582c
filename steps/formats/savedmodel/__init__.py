"""SavedModel: a directory with `saved_model.pb` and, where the model has variables, `variables/`.

Recognition alone; `reader` reads the signatures. Frozen graphs, which are a bare GraphDef, do not belong here.
"""

import posixpath
import re
from typing import Final

from klever.steps.encodings.wire import decode_head
from klever.steps.files import ModelFiles
from klever.steps.formats.interface import Claim, Evidence, Format, Reading, outermost
from klever.steps.model.signature import Signature

NAME: Final = "saved_model.pb"
TEXT_NAME: Final = "saved_model.pbtxt"

_VARINT, _BYTES = 0, 2
_SCHEMA_VERSION, _META_GRAPH = 1, 2
#: MetaGraphDef's and MetaInfoDef's fields (meta_graph.proto) to their wire types.
_META_GRAPH_FIELDS: Final = dict.fromkeys(range(1, 8), _BYTES)
_META_INFO_FIELDS: Final = {1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 2, 7: 0, 8: 2}
_SHARD: Final = re.compile(r"variables\.data-(\d{5})-of-(\d{5})")
_MAX_SHARDS: Final = 10_000


def _is_saved_model(head: bytes) -> bool:
    """Tell whether a file begins as a SavedModel: a schema version, then a MetaGraphDef with a MetaInfoDef."""
    versioned = False
    for number, kind, value in decode_head(head):
        if number == _SCHEMA_VERSION and kind == _VARINT:
            versioned = True
        elif number == _META_GRAPH and kind == _BYTES and isinstance(value, bytes):
            return versioned and _is_meta_graph(value)
        else:
            return False
    return False


def _is_meta_graph(head: bytes) -> bool:
    seen: set[int] = set()
    for number, kind, value in decode_head(head):
        if _META_GRAPH_FIELDS.get(number) != kind or not isinstance(value, bytes):
            return False
        if number == 1 and not all(_META_INFO_FIELDS.get(field) == wire for field, wire, _ in decode_head(value)):
            return False
        seen.add(number)
    return bool(seen & {1, 2, 5})


class SavedModel(Format):
    """TensorFlow's SavedModel."""

    id = "SavedModel"
    framework = "TensorFlow"
    needs = "saved_model.pb, variables/"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim the highest numbered version, as TensorFlow Serving does, of what lies nearest to the root."""
        models = [path for path in files.sizes if path.endswith(".pb") and _is_saved_model(files.head(path))]
        evidence = Evidence.CONTENT if models else Evidence.NAME
        models = models or [path for path in files.sizes if posixpath.basename(path) in (NAME, TEXT_NAME)]
        if not models:
            return None
        models = outermost(models)
        models = [path for path in models if posixpath.basename(path) == NAME] or models
        versions = {path: int(folder) for path in models if (folder := _folder(path)).isascii() and folder.isdigit()}
        chosen = max(versions, key=lambda path: versions[path]) if versions else models[0]
        rivals = () if versions else tuple(models)
        directory = posixpath.dirname(chosen)
        within = tuple(
            path for path in files.sizes if posixpath.dirname(path) == posixpath.join(directory, "variables")
        )
        rename = {chosen: posixpath.join(directory, NAME)} if posixpath.basename(chosen) != NAME else {}
        return Claim(
            evidence,
            files=(chosen, *within),
            missing=_missing_shards(directory, within),
            competing=rivals if len(rivals) > 1 else (),
            rename=rename if evidence is Evidence.CONTENT else {},
        )

    def companions(self, name: str, siblings: frozenset[str]) -> tuple[str, ...]:
        """Return what lies beside `saved_model.pb`: its variables, assets and fingerprint."""
        if posixpath.basename(name) != NAME:
            return ()
        own = ("variables", "variables/", "assets", "assets/", "assets.extra", "assets.extra/")
        files = ("fingerprint.pb", "keras_metadata.pb")
        return tuple(sorted(other for other in siblings if other in own + files or other.startswith(own[1::2])))

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read the signatures; see `reader.read_model`."""
        from klever.steps.formats.savedmodel.reader import read_model

        del author
        return read_model(files, claim.files[0])


def _folder(path: str) -> str:
    return posixpath.basename(posixpath.dirname(path))


def _missing_shards(directory: str, within: tuple[str, ...]) -> tuple[str, ...]:
    """Name what a checkpoint that is there lacks of its own parts."""
    names = {posixpath.basename(path) for path in within}
    shards = [match for name in names if (match := _SHARD.fullmatch(name))]
    if not names:
        return ()
    parts = {"variables.index"}
    total = max((int(match[2]) for match in shards), default=0)
    if 0 < total <= _MAX_SHARDS:
        parts |= {f"variables.data-{index:05}-of-{total:05}" for index in range(total)}
    elif not shards:
        parts.add("variables.data-00000-of-00001")
    return tuple(posixpath.join(directory, "variables", name) for name in sorted(parts - names))


FORMAT = SavedModel()
