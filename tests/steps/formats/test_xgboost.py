"""XGBoost: three encodings of one model agree, and trees are passed over unread."""

import json
import struct
from collections.abc import Callable
from typing import Any

import pytest

from klever.steps.errors import LimitExceededError, MalformedModelError, ModelError, TruncatedModelError
from klever.steps.files import BytesSource, MemoryFiles
from klever.steps.formats.interface import Evidence, Reading
from klever.steps.formats.xgboost import FORMAT
from klever.steps.formats.xgboost.reader import read_booster


def learner(
    objective: str = "reg:squarederror", classes: int = 0, targets: int = 1, trees: object = None
) -> dict[str, Any]:
    """Return a model as XGBoost writes it, with its keys in order."""
    parameters = {"base_score": "5E-1", "num_class": str(classes), "num_feature": "5", "num_target": str(targets)}
    return {
        "learner": {
            "attributes": {},
            "feature_names": ["a", "b\"}]", "c\\", "ä", "e"],
            "feature_types": ["float"] * 5,
            "gradient_booster": {
                "model": {
                    "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": "7"},
                    "tree_info": [0, 0],
                    "trees": trees or [{"base_weights": [1.5, -2.0], "id": 0}],
                },
                "name": "gbtree",
            },
            "learner_model_param": parameters,
            "objective": {"name": objective, "reg_loss_param": {"scale_pos_weight": "1"}},
        },
        "version": [3, 1, 0],
    }  # fmt: skip


def to_json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def to_ubjson(value: object) -> bytes:
    """Encode as XGBoost does: 64-bit lengths, arrays with a count, numbers of one type packed."""

    def length(number: int) -> bytes:
        return b"L" + struct.pack(">q", number)

    def text(string: str) -> bytes:
        return length(len(string.encode())) + string.encode()

    if isinstance(value, dict):
        return b"{" + b"".join(text(key) + to_ubjson(item) for key, item in value.items()) + b"}"
    if isinstance(value, list):
        if value and all(isinstance(item, float) for item in value):
            return b"[$d#" + length(len(value)) + struct.pack(f">{len(value)}f", *value)
        return b"[#" + length(len(value)) + b"".join(to_ubjson(item) for item in value)
    if isinstance(value, str):
        return b"S" + text(value)
    assert isinstance(value, int)
    return b"i" + struct.pack(">b", value)


def to_binary(document: dict[str, Any]) -> bytes:
    """Encode as XGBoost 1.x does: parameters of 136 bytes, two names, the trees' parameters."""
    inner = document["learner"]
    given = inner["learner_model_param"]
    head = struct.pack(
        "<fIiiiIII", 0.5, int(given["num_feature"]), int(given["num_class"]), 1, 0, 3, 1, int(given["num_target"])
    )
    names = b"".join(struct.pack("<Q", len(name)) + name.encode() for name in (inner["objective"]["name"], "gbtree"))
    return b"binf" + head.ljust(136, b"\0") + names + struct.pack("<40i", 7, *[0] * 39)


ENCODINGS: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "json": to_json,
    "ubjson": to_ubjson,
    "binary": to_binary,
    "old binary": lambda document: to_binary(document)[4:],
    "indented": lambda document: b" \n" + json.dumps(document, indent=2).encode() + b"\n",
}


def read(data: bytes) -> Reading:
    return read_booster(MemoryFiles({"m.xgboost": data}), "m.xgboost")


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS.keys())
@pytest.mark.parametrize(
    ("objective", "classes", "targets", "shape"),
    [
        ("reg:squarederror", 0, 1, (-1,)),
        ("binary:logistic", 0, 1, (-1,)),
        ("binary:logistic", 0, 4, (-1, 4)),
        ("reg:quantileerror", 0, 3, (-1, 3)),
        ("multi:softprob", 3, 1, (-1, 3)),
        ("multi:softmax", 3, 1, (-1,)),
        ("rank:ndcg", 0, 1, (-1,)),
        ("survival:aft", 0, 1, (-1,)),
    ],
)
def test_encodings_agree(
    encode: Callable[[dict[str, Any]], bytes], objective: str, classes: int, targets: int, shape: tuple[int, ...]
) -> None:
    data = encode(learner(objective, classes, targets))
    claim = FORMAT.claim(MemoryFiles({"model": data}))
    assert claim is not None
    assert claim.evidence is Evidence.CONTENT
    assert claim.rename == {"model": "model.xgboost"}
    reading = read(data)
    assert reading.signature.to_json() == {
        "inputs": [{"name": "input-0", "dType": "float32", "size": [-1, 5]}],
        "outputs": [{"name": "predict", "dType": "float32", "size": list(shape)}],
        "layers": {"gbtree": 7},
    }
    assert reading.facts["objective"] == objective


class Counting(BytesSource):
    read = 0

    def read_at(self, offset: int, length: int) -> bytes:
        self.read += length
        return super().read_at(offset, length)


class CountingFiles(MemoryFiles):
    def __init__(self, data: bytes) -> None:
        super().__init__({"m.xgboost": data})
        self.source = Counting(data)

    def open(self, path: str) -> Counting:
        return self.source


@pytest.mark.parametrize("encode", [to_json, to_ubjson])
def test_a_large_forest_is_read_from_both_ends(encode: Callable[[object], bytes]) -> None:
    trees = [{"base_weights": [1.5] * 20_000, "id": 0}] * 40
    files = CountingFiles(encode(learner("multi:softprob", 3, trees=trees)))
    reading = read_booster(files, "m.xgboost")
    assert reading.signature.outputs is not None
    assert reading.signature.outputs[0].shape == (-1, 3)
    assert reading.signature.layers == {"gbtree": 7}
    assert reading.facts["version"] == "3.1.0"
    assert files.source.read <= 300_000 < files.source.size


@pytest.mark.parametrize("encode", [to_json, to_ubjson])
def test_parameters_before_large_trees_are_found_as_well(encode: Callable[[object], bytes]) -> None:
    document = learner("multi:softprob", 3, trees=[{"base_weights": [1.5] * 20_000, "id": 0}] * 40)
    inner = dict(reversed(document["learner"].items()))
    reading = read(encode({"version": [1, 0, 0], "learner": inner}))
    assert reading.signature.outputs is not None
    assert reading.signature.outputs[0].shape == (-1, 3)


@pytest.mark.parametrize("encode", [to_json, to_ubjson])
def test_dart_and_linear_boosters_are_named(encode: Callable[[object], bytes]) -> None:
    document = learner()
    inner = document["learner"]["gradient_booster"]
    document["learner"]["gradient_booster"] = {"gbtree": inner, "name": "dart", "weight_drop": [1.0]}
    assert read(encode(document)).signature.layers == {"dart": 7}
    document["learner"]["gradient_booster"] = {"model": {"weights": [1.0]}, "name": "gblinear"}
    assert read(encode(document)).signature.layers == {"gblinear": 1}


def test_feature_names_are_facts() -> None:
    for encode in (to_json, to_ubjson):
        assert read(encode(learner())).facts["featureNames"] == ["a", 'b"}]', "c\\", "ä", "e"]


@pytest.mark.parametrize(
    "data",
    [
        b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\n",
        b'{"learner":{"generic_param":{"device":"cpu"},"gradient_booster":{}}}',
        b'{"Config":{"learner":{}}}',
        b'{"nodes": []}',
        b"\x80\x04\x95",
        b"PK\x03\x04",
    ],
)
def test_other_files_are_not_claimed_whatever_their_name(data: bytes) -> None:
    for name in ("m.bst", "m.xgboost", "m.json"):
        assert FORMAT.claim(MemoryFiles({name: data})) is None


@pytest.mark.parametrize("encode", [to_json, to_ubjson, to_binary])
def test_every_cut_is_noticed(encode: Callable[[dict[str, Any]], bytes]) -> None:
    data = encode(learner())
    for end in range(1, len(data) - (160 if encode is to_binary else 0)):
        with pytest.raises(ModelError):
            read(data[:end])


START = b"{L\0\0\0\0\0\0\0\x07learner{L\0\0\0\0\0\0\0\x0aattributes"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b'{"learner":{"attributes":' + b"[" * 100_000, LimitExceededError),
        (b'{"learner":{' + b'"a":1,' * 100_000, LimitExceededError),
        (b'{"learner":{"feature_names":[' + b"{}," * 400_000 + b"0]}}", LimitExceededError),
        (b'{"learner":{"feature_names":"' + b"x" * (5 << 20), LimitExceededError),
        (b'{"learner":{"learner_model_param":{"num_feature":"-5"}}}', MalformedModelError),
        (b'{"learner":{"learner_model_param":{"num_feature":"5"', TruncatedModelError),
        (b'{"learner":{}}', MalformedModelError),
        (START + b"[" * 100_000, LimitExceededError),
        (START + b"[" + b"Z" * 500_000, LimitExceededError),
        (START + b"[$d#L\x7f" + b"\xff" * 7, TruncatedModelError),
        (START + b"[$d#L\xff" + b"\xff" * 7, MalformedModelError),
        (START + b"[$Z#L\x7f" + b"\xff" * 7, MalformedModelError),
        (START + b"X", MalformedModelError),
        (b"", TruncatedModelError),
        (b"\xff" * 300, MalformedModelError),
    ],
    ids=range(15),
)
def test_hostile_documents_are_refused(data: bytes, error: type[ModelError]) -> None:
    with pytest.raises(error):
        read(data)
