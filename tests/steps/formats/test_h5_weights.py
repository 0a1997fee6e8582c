"""What of an HDF5 file libhdf5 must not be led to; files by h5py."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from klever.steps.errors import KleverError, LimitExceededError, UnsafeModelError
from klever.steps.files import FileSource
from klever.steps.formats.h5.weights import check_weights

Fill = Callable[[h5py.Group], object]


def write(path: Path, fill: Fill, layout: str) -> FileSource:
    with h5py.File(path, "w", libver=layout) as file:
        fill(file.create_group("model_weights"))
    return FileSource(path)


def virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout((4,), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "data", (4,))
    group.create_virtual_dataset("view", layout)


@pytest.mark.parametrize("layout", ["earliest", "latest"])
@pytest.mark.parametrize(
    ("fill", "error"),
    [
        (lambda group: group.__setitem__("a", h5py.ExternalLink("/etc/other.h5", "/a")), UnsafeModelError),
        (lambda group: group.__setitem__("a", h5py.SoftLink("/model_weights")), UnsafeModelError),
        (lambda group: group.file.__setitem__("b", h5py.ExternalLink("/etc/other.h5", "/a")), UnsafeModelError),
        (lambda group: group.create_dataset("a", (4,), "f4", external=[("/etc/passwd", 0, 16)]), UnsafeModelError),
        (virtual, UnsafeModelError),
        (lambda group: group.create_dataset("a", (10**6, 10**6), "f4", chunks=(9, 9)), LimitExceededError),
    ],
)
def test_links_and_absurd_sizes_are_refused(tmp_path: Path, fill: Fill, error: type[KleverError], layout: str) -> None:
    with pytest.raises(error):
        check_weights(write(tmp_path / "model.h5", fill, layout))


@pytest.mark.parametrize("layout", ["earliest", "latest"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_weights_pass_be_they_compressed(tmp_path: Path, layout: str, compression: str | None) -> None:
    def fill(group: h5py.Group) -> None:
        layer = group.create_group("dense/dense_1")
        layer.create_dataset("kernel:0", data=np.zeros((300, 300), "f4"), compression=compression)
        group["again"] = layer

    check_weights(write(tmp_path / "model.h5", fill, layout))


def test_a_group_that_holds_itself_ends(tmp_path: Path) -> None:
    check_weights(write(tmp_path / "model.h5", lambda group: group.__setitem__("self", group), "latest"))
