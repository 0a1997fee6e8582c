"""Caffe: a ``.caffemodel`` (a binary NetParameter with the weights) and the prototxt that describes its network.

Recognition only; the reader is imported when a model is read. The message definitions: ``src/caffe/proto/caffe.proto``.
"""

import re
from enum import Enum, auto
from typing import Final

from klever.steps.encodings.wire import decode_head
from klever.steps.files import HEAD_BYTES, ModelFiles
from klever.steps.formats.interface import Claim, Evidence, Format, Reading, renamed
from klever.steps.model.signature import Signature

_WEIGHTS_NEEDED: Final = "one *.caffemodel"
_NET_NEEDED: Final = "one *.prototxt"
#: How people name a network's text; py-faster-rcnn says ``test.pt``.
_TEXT_SUFFIXES: Final = (".prototxt", ".protxt", ".prototext", ".pt", ".txt", ".pbtxt")

_COMMENT: Final = re.compile(rb"#[^\n]*+")
_LAYER: Final = re.compile(rb"(?:^|[\s}])layers?\s*:?\s*[{<]")
_INPUT: Final = re.compile(rb"""(?:^|\s)input\s*:\s*["']|["']Input["']""")
_SOLVER: Final = re.compile(rb"(?:^|\s)(?:base_lr|lr_policy|train_net|test_iter|max_iter)\s*:")
_DATA: Final = re.compile(
    rb"""type\s*:\s*(?:["'](?:Annotated|Dummy|HDF5|Image|Memory|Video|Window)?Data["']|(?:[A-Z0-9]+_)?DATA\b|["']data["'])"""
    rb"""|phase\s*:\s*TRAIN"""
)


class Text(Enum):
    """What a text file of Caffe's describes."""

    DEPLOYED = auto()
    TRAINED = auto()
    SOLVER = auto()


def classify_text(head: bytes) -> Text | None:
    """Tell from its beginning what a text describes; None for anything but a network or a solver."""
    if b"\0" in head:
        return None
    text = _COMMENT.sub(b"", head)
    if not re.match(rb"(?:\xef\xbb\xbf)?\s*[A-Za-z_]\w*\s*[:{<]", text):
        return None
    if _LAYER.search(text):
        fed = _DATA.search(text) and not _INPUT.search(text)
        return Text.TRAINED if fed else Text.DEPLOYED
    if _SOLVER.search(text):
        return Text.SOLVER
    # A network may have more inputs and comments before its first layer than the head holds.
    return Text.DEPLOYED if _INPUT.match(text.strip()) or re.search(rb"\sinput\s*:\s*\"", text) else None


def holds_weights(head: bytes) -> bool:
    """Tell whether bytes begin a NetParameter that has a layer, of V1 or of V2."""
    for number, kind, value in decode_head(head):
        if number == 1:
            # In a GraphDef this is a message, whose first byte is a tag.
            if kind != 2 or not isinstance(value, bytes) or (value and value[0] < 0x20):
                return False
        elif number in (2, 100):
            return isinstance(value, bytes) and (_is_v2(value) if number == 100 else _is_v1(value))
        elif (number, kind) not in ((3, 2), (4, 0), (5, 0), (6, 2), (7, 0), (8, 2)):
            return False
    return False


def _is_v2(layer: bytes) -> bool:
    kinds = {number: kind for number, kind, _ in decode_head(layer)}
    return kinds.get(1, 2) == 2 and kinds.get(2) == 2


def _is_v1(layer: bytes) -> bool:
    """Tell a V1 layer by its type, a varint in field 5, or by the V0 layer in field 1."""
    for number, kind, value in decode_head(layer):
        if number == 5:
            return kind == 0
        if number == 1:
            return isinstance(value, bytes) and _is_v2(value)
        if number not in (2, 3, 4) or kind != 2:
            return False
    return False


class CaffeModel(Format):
    """Caffe's network and weights."""

    id = "CaffeModel"
    framework = "Caffe"
    needs = f"{_WEIGHTS_NEEDED}, {_NET_NEEDED}"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim binary NetParameters by content and name, and the sole text that describes a network to deploy."""
        proven, named = [], []
        for path in files.sizes:
            if not path.lower().endswith(_TEXT_SUFFIXES) and holds_weights(files.head(path)):
                proven.append(path)
            elif path.lower().endswith(".caffemodel"):
                named.append(path)
        weights = proven or named
        nets, competing = self._nets(files, weights)
        if not weights and not nets:
            return None
        missing = [] if weights else [_WEIGHTS_NEEDED]
        if not nets:
            missing.append(_NET_NEEDED)
        return Claim(
            Evidence.CONTENT if proven else Evidence.NAME,
            files=(*nets[:1], *weights[:1]),
            missing=tuple(missing),
            competing=(*competing, *(weights if len(weights) > 1 else ())),
            rename={
                **(renamed(nets[0], ".prototxt", files.sizes) if nets else {}),
                **(renamed(weights[0], ".caffemodel", files.sizes) if weights else {}),
            },
        )

    def companions(self, name: str, siblings: frozenset[str]) -> tuple[str, ...]:
        """Return the prototxt of a bare caffemodel: of the same stem, else ``deploy.prototxt``, else the only one.

        Of a bare prototxt, the one caffemodel that it would be returned for.
        """
        if name.lower().endswith(".prototxt"):
            weights = (path for path in sorted(siblings) if path.lower().endswith(".caffemodel"))
            own = tuple(path for path in weights if name in self.companions(path, siblings | {name}))
            return own if len(own) == 1 else ()
        if not name.lower().endswith(".caffemodel"):
            return ()
        texts = sorted(path for path in siblings if path.lower().endswith(".prototxt"))
        stem = name[: -len(".caffemodel")]
        # Snapshots are called NAME_iter_NUMBER.
        bare = re.sub(r"_iter_\d+$", "", stem)
        wanted = [f"{stem}.prototxt", f"{bare}.prototxt", f"{bare}_deploy.prototxt", "deploy.prototxt"]
        for path in wanted:
            if path in texts:
                return (path,)
        others = [path for path in texts if not re.search(r"solver|train", path.lower())]
        return (others[0],) if len(others) == 1 else ()

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read the network of the prototxt; of the weights only that they are there and whole."""
        from klever.steps.formats.caffemodel.reader import read_model

        return read_model(files, claim, author)

    @staticmethod
    def _nets(files: ModelFiles, weights: list[str]) -> tuple[list[str], list[str]]:
        """Return the text to take and those that compete with it."""
        found: dict[Text | None, list[str]] = {}
        for path in files.sizes:
            if not path.lower().endswith(_TEXT_SUFFIXES):
                continue
            kind = classify_text(files.head(path))
            # Without weights beside it, only the usual name makes a text Caffe's.
            if kind is not None and (weights or path.lower().endswith(".prototxt")):
                found.setdefault(kind, []).append(path)
            elif path.lower().endswith(".prototxt") and weights and _is_open(files, path):
                found.setdefault(None, []).append(path)
        # A training network is the last resort; a text that the head doesn't tell is better than none.
        nets = found.get(Text.DEPLOYED) or found.get(None) or found.get(Text.TRAINED) or []
        return nets, nets if len(nets) > 1 else []


def _is_open(files: ModelFiles, path: str) -> bool:
    """Tell whether the head of a text does not settle what it is: a long comment, or nothing to read at all."""
    head = files.head(path)
    rest = _COMMENT.sub(b"", head).strip()
    return not rest or (len(head) == HEAD_BYTES and b"item" not in rest) or b"\0" in head


FORMAT = CaffeModel()
