"""Pickles by opcode: the structure that Python writes is found in every protocol, and nothing is run."""

import collections
import pickle
from pathlib import Path
from typing import Any

import pytest

from klever.steps.encodings.pickle import Blob, Global, Object, Persistent, Pickle, read_pickle
from klever.steps.encodings.stream import Stream
from klever.steps.errors import LimitExceededError, MalformedModelError, ModelError, TruncatedModelError
from klever.steps.files import BytesSource
from klever.steps.frameworks.callables import Risk, describe, judge

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def read(data: bytes) -> Pickle:
    return read_pickle(Stream(BytesSource(data)))


class Command:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, -1, 255, 65536, -(2**31), 2**63, -(2**100), 1.5, float("inf"), "text", "é\n'\"\\\u20ac",
        (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1, [2, [3]]], {}, {"a": {1: [None]}}, list(range(3000)),
    ],
)  # fmt: skip
def test_plain_values_come_back(value: object, protocol: int) -> None:
    assert read(pickle.dumps(value, protocol)).root == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_shared_value_is_one_object(protocol: int) -> None:
    shared = ["x"]
    root = read(pickle.dumps([shared, shared], protocol)).root
    assert root[0] is root[1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_cycle_is_kept(protocol: int) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    root = read(pickle.dumps(cycle, protocol)).root
    assert root[0] is root


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_items_of_an_object_are_found(protocol: int) -> None:
    root = read(pickle.dumps(collections.OrderedDict(a=1), protocol)).root
    assert str(root.function) == "collections.OrderedDict"
    assert root.entries == {"a": 1}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_command_is_named_and_not_run(tmp_path: Path, protocol: int) -> None:
    proof = tmp_path / "PWNED"
    found = read(pickle.dumps(Command(proof), protocol))
    assert isinstance(found.root, Object)
    assert found.called
    assert not proof.exists()


def test_calls_by_each_opcode_are_inert_objects() -> None:
    for data in (
        b"cos\nsystem\n(S'id'\ntR.",
        b"(S'id'\nios\nsystem\n.",
        b"(cos\nsystem\nS'id'\no.",
        b"cos\nsystem\n(S'id'\nt\x81.",
    ):
        found = read(data)
        assert (str(found.root.function), found.root.args) == ("os.system", ("id",))
        assert found.called == {Global("os", "system")}


def test_persistent_ids_are_kept() -> None:
    assert isinstance(read(b"Pname\n.").root, Persistent)
    assert read(b"(S'storage'\nI3\ntQ.").root.id == ("storage", 3)


@pytest.mark.parametrize("protocol", range(3, 6))
def test_long_bytes_are_skipped(protocol: int) -> None:
    root = read(pickle.dumps([b"x" * 100_000, b"short"], protocol)).root
    assert isinstance(root[0], Blob)
    assert root[0].length == 100_000
    assert root[1] == b"short"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_truncation_is_a_typed_error(protocol: int) -> None:
    data = pickle.dumps({"a": [1, "b", (2.5, None)], "c": collections.OrderedDict(x=1)}, protocol)
    for end in range(len(data)):
        with pytest.raises(ModelError):
            read(data[:end])


@pytest.mark.parametrize(
    "data",
    [b".", b"R.", b"N0.", b"\x80\x09.", b"h\x05.", b"Ixyz\n.", b"Fxyz\n.", b"Sxyz\n.", b"Na.", b"NNNs.", b"(1u.",
     b"\xff", b"NNR.",     b"NNb.", b"gx\n.", b"V\\ud8\n.", b"]K\x01u.", b"}(K\x01u.", b"N\x93.", b"e", b"\x85."],
)  # fmt: skip
def test_what_unpickling_would_not_take_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedModelError):
        read(data)


def test_an_empty_file_is_truncated() -> None:
    with pytest.raises(TruncatedModelError):
        read(b"")


@pytest.mark.parametrize(
    "data", [b"]" * 10**6, b"N" + b"2" * 3 * 10**6, b"(" * 10**6, b")" + b"\x85" * 10**6, b"N" + b"\x94" * 10**6]
)
def test_what_grows_without_end_meets_a_limit(data: bytes) -> None:
    with pytest.raises(LimitExceededError):
        read(data)


def test_keys_that_share_their_parts_cost_no_exponential_time() -> None:
    doubling = b"N" + b"2\x86" * 2000
    assert read(b"}" + doubling + b"Ns.").root


@pytest.mark.parametrize("claim", [b"\x8b\xff\xff\xff\x7f", b"L" + b"9" * 5000 + b"\n."])
def test_an_absurd_integer_meets_a_limit(claim: bytes) -> None:
    with pytest.raises(LimitExceededError):
        read(claim + b"\0" * 10_000)


@pytest.mark.parametrize(
    ("module", "name", "risk"),
    [
        ("os", "system", Risk.DANGEROUS),
        ("posix", "system", Risk.DANGEROUS),
        ("builtins", "eval", Risk.DANGEROUS),
        ("__builtin__", "getattr", Risk.DANGEROUS),
        ("subprocess", "Popen", Risk.DANGEROUS),
        ("torch", "load", Risk.DANGEROUS),
        ("collections", "OrderedDict.__init__.__globals__", Risk.DANGEROUS),
        ("collections", "OrderedDict", Risk.KNOWN),
        ("torch._utils", "_rebuild_tensor_v2", Risk.KNOWN),
        ("torch", "FloatStorage", Risk.KNOWN),
        ("numpy._core.multiarray", "_reconstruct", Risk.KNOWN),
        ("sklearn.svm._classes", "SVC", Risk.KNOWN),
        ("__main__", "Net", Risk.UNKNOWN),
        ("torch.hub", "download_url_to_file", Risk.UNKNOWN),
    ],
)
def test_globals_are_judged_by_their_names(module: str, name: str, risk: Risk) -> None:
    assert judge(Global(module, name)) is risk


def test_a_list_of_names_for_a_message_is_bounded() -> None:
    text = describe(Global("m", f"{index}\n" * 100) for index in range(100))
    assert "\n" not in text
    assert "88 more" in text
    assert len(text) < 2000
