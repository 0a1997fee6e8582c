"""Artifacts as other tools write them: configs with fields of their own, layers that hold more than the model."""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from klever.steps.oci import media
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.reference import Reference
from klever.steps.stores import Stores

#: What the original tool wrote before it read signatures, with what somebody else added.
CONFIG: dict[str, Any] = {
    "created": "2020-10-13T09:31:41.362Z",
    "author": "Ada",
    "format": "ONNX",
    "signature": {"inputs": [{"name": "x", "size": [-1, 3, -1, -1], "dType": "float32", "unit": "pixel"}]},
    "labels": {"team": "vision"},
    "x-reviewed": {"by": "Grace", "stars": 5},
}
ANNOTATIONS = {"org.opencontainers.image.created": "2020-10-13T09:31:41Z", "example.org/kept": "yes"}
STALE = b"author: nobody\nformat: Others\n"


def pack(files: Mapping[str, bytes]) -> bytes:
    """Pack a layer as other tools do: names of users, times, deflated."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uname = len(data), 1602581501, "ada"
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(packed.getvalue(), mtime=1602581501)


def put(
    reference: Reference,
    stores: Stores,
    model: Path,
    *,
    config: Mapping[str, Any] = CONFIG,
    beside: Mapping[str, bytes] | None = None,
    annotations: Mapping[str, str] = ANNOTATIONS,
) -> Descriptor:
    """Put an artifact of the files in ``model`` into a store, with more files ``beside`` the model's folder."""
    files = {f"model/{path.name}": path.read_bytes() for path in sorted(model.iterdir())}
    store = stores.open(reference)
    blobs = []
    for data, kind in ((json.dumps(config).encode(), media.CONFIG), (pack({**(beside or {}), **files}), media.LAYER)):
        blobs.append(Descriptor.of(data, kind))
        store.put_blob(reference.repository, lambda data=data: (data,), expected=blobs[-1])  # type: ignore[misc]
    manifest = {
        "schemaVersion": 2,
        "config": blobs[0].to_json(),
        "layers": [blobs[1].to_json()],
        "annotations": dict(annotations),
    }
    return store.put_manifest(reference.repository, json.dumps(manifest).encode(), media.MANIFEST, tag=reference.tag)
