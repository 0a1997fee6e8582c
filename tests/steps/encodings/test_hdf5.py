"""HDF5 files that libhdf5 wrote, against what libhdf5 reads from them; and files that no library would write."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from klever.steps.encodings.hdf5.file import File, Group
from klever.steps.errors import LimitExceededError, MalformedModelError, ModelError, TruncatedModelError
from klever.steps.files import BytesSource

LAYOUTS = ["earliest", "v108", "v110", "latest"]


def plain(value: Any) -> Any:
    """Return a value of h5py as Python has it."""
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.ravel().tolist()]
    if isinstance(value, np.generic):
        return plain(value.item())
    return value.decode() if isinstance(value, bytes) else value


def compare(ours: Group, theirs: h5py.Group | h5py.Dataset) -> int:
    """Compare everything below two groups; return how many attributes there were."""
    assert set(ours.attributes) == set(theirs.attrs)
    for name, value in theirs.attrs.items():
        assert ours.attribute(name) == plain(value), (theirs.name, name)
    count = len(theirs.attrs)
    assert ours.is_dataset == isinstance(theirs, h5py.Dataset)
    if isinstance(theirs, h5py.Group):
        hard = {name for name in theirs if isinstance(theirs.get(name, getlink=True), h5py.HardLink)}
        assert set(ours.children) == hard
        count += sum(compare(ours.children[name], theirs[name]) for name in hard)
    return count


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def _write(build: Callable[[h5py.File], None], **options: Any) -> Path:
        path = tmp_path / "file.h5"
        with h5py.File(path, "w", **options) as file:
            build(file)
        return path

    return _write


def check(path: Path) -> int:
    with h5py.File(path) as theirs:
        return compare(File(BytesSource(path.read_bytes())).root, theirs)


def values(file: h5py.File) -> None:
    file.attrs["variable"] = "häß"
    file.attrs["fixed"] = np.bytes_(b"abc")
    file.attrs["names"] = np.array([b"a", b"bcd"])
    file.attrs["texts"] = ["x", "", "zzz"]
    file.attrs["negative"] = -5
    file.attrs["byte"] = np.uint8(250)
    file.attrs["big_endian"] = np.array([1, -2], ">i4")
    file.attrs["real"] = 1.5
    file.attrs["half"] = np.float16(2.5)
    file.attrs["nothing"] = h5py.Empty("f")
    file.attrs["no_elements"] = np.zeros((0,), "i4")
    file.attrs["matrix"] = np.arange(6.0).reshape(2, 3)
    file.attrs["long"] = "q" * 200_000


def many(file: h5py.File) -> None:
    few = file.create_group("attributes")
    for index in range(300):
        few.attrs[f"a{index}"] = f"value {index}" * (index % 30 + 1)
    wide = file.create_group("links")
    for index in range(1200):
        wide.create_group(f"a_child_of_some_name_{index}")
    file.create_dataset("deep/er/data", data=np.arange(10)).attrs["unit"] = "s"


@pytest.mark.parametrize("track_order", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("build", [values, many])
def test_everything_is_read_as_libhdf5_reads_it(
    write: Callable[..., Path], build: Callable[[h5py.File], None], layout: str, track_order: bool
) -> None:
    assert check(write(build, libver=(layout, "latest"), track_order=track_order)) >= 13


@pytest.mark.parametrize("layout", ["earliest", "latest"])
@pytest.mark.parametrize("size", [512, 1024, 4096, 65536])
def test_a_user_block_shifts_all_addresses(write: Callable[..., Path], layout: str, size: int) -> None:
    assert check(write(values, libver=layout, userblock_size=size)) == 13


def test_attributes_over_64_kib_and_huge_heap_objects_are_read(write: Callable[..., Path]) -> None:
    def build(file: h5py.File) -> None:
        for index in range(40):
            file.attrs[f"chunk{index}"] = np.bytes_(bytes([65 + index % 26]) * (3000 + 100 * index))
        for index in range(5):
            file.attrs[f"large{index}"] = np.bytes_(bytes([97 + index]) * (70_000 + index))

    assert check(write(build, libver="latest")) == 45


def test_other_types_have_no_value(write: Callable[..., Path]) -> None:
    def build(file: h5py.File) -> None:
        file.attrs["flag"] = True
        file.attrs["pair"] = np.zeros((), [("a", "i4"), ("b", "f4")])

    root = File(BytesSource(write(build).read_bytes())).root
    assert root.attribute("flag") is None
    assert root.attribute("pair") is None
    assert root.attribute("absent") is None


def test_soft_and_external_links_are_not_followed(write: Callable[..., Path]) -> None:
    def build(file: h5py.File) -> None:
        file.create_group("real")
        file["soft"] = h5py.SoftLink("/real")
        file["external"] = h5py.ExternalLink("/etc/passwd", "/")
        file["cycle/self"] = file["/"]

    for layout in ("earliest", "latest"):
        root = File(BytesSource(write(build, libver=layout).read_bytes())).root
        assert set(root.children) == {"real", "cycle"}
        assert set(root["cycle/self/cycle/self"].children) == {"real", "cycle"}


def superblock(root: int) -> bytes:
    """Return a superblock of version 2, 48 bytes."""
    signature = b"\x89HDF\r\n\x1a\n\x02\x08\x08\x00"
    return signature + b"".join(n.to_bytes(8, "little") for n in (0, 2**64 - 1, 4096, root)) + bytes(4)


def message(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + len(data).to_bytes(2, "little") + b"\0" + data


def header(*messages: bytes) -> bytes:
    """Return an object header of version 2 in one chunk."""
    body = b"".join(messages)
    return b"OHDR\x02\x02" + len(body).to_bytes(4, "little") + body + bytes(4)


def root_of(*messages: bytes) -> Group:
    return File(BytesSource(superblock(48) + header(*messages) + bytes(4096))).root


def test_a_header_that_continues_in_itself_is_refused() -> None:
    there = (48).to_bytes(8, "little") + (100).to_bytes(8, "little")
    with pytest.raises(MalformedModelError, match="cycle"):
        _ = root_of(message(0x10, there)).attributes


def test_an_attribute_of_absurd_shape_is_refused() -> None:
    integer = bytes([0x10, 8, 0, 0]) + (4).to_bytes(4, "little")
    space = bytes([2, 2, 0, 1]) + (2**40).to_bytes(8, "little") * 2
    sizes = b"".join(len(part).to_bytes(2, "little") for part in (b"a\0", integer, space))
    root = root_of(message(0x0C, b"\x03\x00" + sizes + b"\0" + b"a\0" + integer + space))
    with pytest.raises(LimitExceededError, match="claims"):
        root.attribute("a")


def test_a_text_of_absurd_length_is_refused() -> None:
    text = bytes([0x13, 0, 0, 0]) + (2**31).to_bytes(4, "little")
    space = bytes([2, 0, 0, 0])
    sizes = b"".join(len(part).to_bytes(2, "little") for part in (b"a\0", text, space))
    root = root_of(message(0x0C, b"\x03\x00" + sizes + b"\0" + b"a\0" + text + space))
    with pytest.raises(LimitExceededError):
        root.attribute("a")


def test_a_header_longer_than_the_file_is_truncated() -> None:
    data = superblock(48) + b"OHDR\x02\x02" + (2**31).to_bytes(4, "little")
    with pytest.raises(TruncatedModelError):
        _ = File(BytesSource(data)).root.attributes


@pytest.mark.parametrize("data", [b"", b"\x89HDF", bytes(5000), superblock(2**64 - 1), superblock(2**40)])
def test_a_file_without_a_root_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedModelError):
        _ = File(BytesSource(data)).root.attributes


@pytest.mark.parametrize("layout", ["earliest", "latest"])
def test_mutations_give_a_typed_error_or_a_reading(write: Callable[..., Path], layout: str) -> None:
    def build(file: h5py.File) -> None:
        for index in range(20):
            file.attrs[f"a{index}"] = "text" * index
            file.create_group(f"g{index}")

    whole = write(build, libver=layout).read_bytes()
    dice = random.Random(layout)
    for _ in range(600):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(min(len(data), 4096))
            data[at : at + dice.randint(1, 8)] = bytes(dice.choice((0, 1, 255, dice.randrange(256))) for _ in range(4))
        try:
            root = File(BytesSource(bytes(data))).root
            for name in root.attributes:
                root.attribute(name)
            for child in root.children.values():
                _ = child.children
        except ModelError as error:
            assert error.cause
