"""The model files of a layer in a store, for reading a signature without pulling the model.

    with LayerFiles(store, repository, artifact.layer) as files:
        signature = recognise(files)

By ranges where the store and the layer allow it, else from a stream; either way the weights are neither stored nor
held in memory. By ranges nothing is verified by a digest, and from a stream that is left early neither: what a
reader learns here is as trustworthy as the store, until the artifact is pulled. What does not belong here: which
files make a model.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cached_property
from types import TracebackType
from typing import Final, Self

from klever.steps.errors import ArchiveError, NotFoundError
from klever.steps.files import HEAD_BYTES, Source
from klever.steps.oci import media
from klever.steps.oci.archive import IndexEntry, LayerIndex
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.ranged import BufferedSource, open_entry, walk
from klever.steps.oci.store import Store
from klever.steps.oci.streamed import StreamedLayer

#: The folder of a package that holds the model.
MODEL_FOLDER: Final = "model/"


class LayerFiles:
    """The files below ``model/`` of a layer, as `klever.steps.files.ModelFiles`; paths are those below ``model/``."""

    def __init__(self, store: Store, repository: str, layer: Descriptor) -> None:
        self._store = store
        self._repository = repository
        self._layer = layer
        self._heads: dict[str, bytes] = {}
        self._streamed = StreamedLayer(self._stream)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Path to size in bytes, in sorted order of paths."""
        below = {path.removeprefix(MODEL_FOLDER): s for path, s in self._all.items() if path.startswith(MODEL_FOLDER)}
        return dict(sorted(below.items()))

    @cached_property
    def strays(self) -> tuple[str, ...]:
        """Paths of the layer's files beside ``model/``: layers of the original tool hold an ``ormbfile.yaml``."""
        return tuple(sorted(path for path in self._all if not path.startswith(MODEL_FOLDER)))

    def open(self, path: str) -> Source:
        """Open a file; raises `NotFoundError` where there is none of this path."""
        if path not in self.sizes:
            raise NotFoundError(f"the layer holds no file {path!r} below {MODEL_FOLDER}")
        full = MODEL_FOLDER + path
        if self._blob is not None and self._entries and (source := open_entry(self._blob, self._entries[full])):
            return source
        streamed = self._streamed.open(full)
        if streamed.size != self.sizes[path]:
            raise ArchiveError(f"the layer's index gives {path!r} another size than the layer")
        return streamed

    def head(self, path: str) -> bytes:
        """Return a file's beginning, read once."""
        if path not in self._heads:
            with closing(self.open(path)) as source:
                self._heads[path] = source.read_at(0, HEAD_BYTES)
        return self._heads[path]

    def close(self) -> None:
        """Let go of the stream and the connection."""
        self._streamed.close()
        blob = self.__dict__.get("_blob")
        if blob is not None:
            blob.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def _all(self) -> Mapping[str, int]:
        """Path in the layer to size in bytes, of all files."""
        entries = self._entries
        return {path: entry.size for path, entry in entries.items()} if entries else self._streamed.sizes()

    @cached_property
    def _blob(self) -> BufferedSource | None:
        source = self._store.blob_source(self._repository, self._layer)
        return None if source is None else BufferedSource(source)

    @cached_property
    def _entries(self) -> Mapping[str, IndexEntry] | None:
        """Path in the layer to its place, for a layer with an index or one that can be walked; else None."""
        index = LayerIndex.from_annotation(self._layer.annotations.get(media.LAYER_INDEX, ""))
        if index is None or not index.complete or not index.fills(self._layer.size):
            index = walk(self._blob) if self._blob is not None else None
        # Its first file is checked now, while the layer can still be walked or streamed; others when they are opened.
        elif self._blob is not None and index.entries and open_entry(self._blob, index.entries[0]) is None:
            index = None
        return None if index is None else {entry.path: entry for entry in index.entries}

    def _stream(self) -> Iterator[bytes]:
        return self._store.get_blob(self._repository, self._layer)
