"""Caffe2: two NetDefs, ``init_net.pb`` that fills the parameters and ``predict_net.pb`` that computes.

Recognition only; the reader is imported when a model is read. The message definitions: ``caffe2/proto/caffe2.proto``.
"""

import re
from pathlib import PurePosixPath
from typing import Final

from klever.steps.encodings.wire import decode_head
from klever.steps.files import ModelFiles
from klever.steps.formats.interface import Claim, Evidence, Format, Reading
from klever.steps.model.signature import Signature

_INIT: Final = "init_net.pb"
_PREDICT: Final = "predict_net.pb"
_TEXT: Final = "predict_net.pbtxt"
_INFO: Final = "value_info.json"
_TYPE: Final = re.compile(rb"[A-Za-z_]\w{0,99}\Z")
_FILLER: Final = re.compile(rb"(?:\w*Fill|Load|\w*DequantizedFill)\Z")
#: Wire types of the fields of NetDef: name, op, type, num_workers, device_option, arg, the external blobs, partitions.
_NET: Final = {1: 2, 2: 2, 3: 2, 4: 0, 5: 2, 6: 2, 7: 2, 8: 2, 9: 2}
#: And of OperatorDef: input, output, name, type, arg, device_option, engine, control_input, is_gradient_op, debug_info.
_OPERATOR: Final = {1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 2, 7: 2, 8: 2, 9: 0, 10: 2, 11: 2, 12: 0}


def operator_types(head: bytes) -> tuple[bytes, ...]:
    """Return the types of the operators with which a NetDef begins; none where the bytes are something else."""
    types: list[bytes] = []
    for number, kind, value in decode_head(head):
        if _NET.get(number) != kind:
            return ()
        if number == 1 and isinstance(value, bytes) and value[:1] < b" " and value:
            return ()
        if number == 2 and isinstance(value, bytes):
            operator = _operator_type(value)
            if operator is None:
                # The last operator may be cut where the head ends; the first one tells its type before its weights.
                break
            types.append(operator)
    return tuple(types)


def _operator_type(operator: bytes) -> bytes | None:
    found = None
    blobs = 0
    for number, kind, value in decode_head(operator):
        if _OPERATOR.get(number) != kind:
            return None
        if number in (1, 2):
            blobs += 1
        elif number == 4 and isinstance(value, bytes) and _TYPE.match(value):
            found = value
    return found if blobs else None


def _fills(types: tuple[bytes, ...]) -> bool:
    return all(_FILLER.match(name) for name in types)


class NetDef(Format):
    """Caffe2's pair of nets."""

    id = "NetDef"
    framework = "Caffe2"
    needs = f"{_INIT}, {_PREDICT}"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim NetDefs by content, or the two usual names; the net whose operators fill is the init net."""
        proven = {
            path: types for path in files.sizes if path.endswith(".pb") and (types := operator_types(files.head(path)))
        }
        named = [path for path in files.sizes if PurePosixPath(path).name in (_INIT, _PREDICT)]
        if not proven and not named:
            return None
        candidates = list(dict.fromkeys([*proven, *(path for path in named if not _is_other(files.head(path)))]))
        if not candidates:
            return None
        inits = [path for path in candidates if _is_init(path, proven.get(path, ()))]
        predicts = [path for path in candidates if path not in inits]
        init, predict = _preferred(inits, _INIT), _preferred(predicts, _PREDICT)
        texts = [path for path in files.sizes if PurePosixPath(path).name == _TEXT]
        if not predict and texts:
            predict = texts[:1]
        folder = PurePosixPath((init or predict)[0]).parent
        info = [path for path in files.sizes if PurePosixPath(path) == folder / _INFO]
        wanted = ((_PREDICT, predict), (_INIT, init))
        return Claim(
            Evidence.CONTENT if proven else Evidence.NAME,
            files=(*predict[:1], *init[:1], *info),
            missing=tuple(name for name, found in reversed(wanted) if not found),
            competing=tuple(path for _, found in wanted if len(found) > 1 for path in found),
            rename={
                found[0]: PurePosixPath(found[0]).with_name(name).as_posix()
                for name, found in wanted
                if found and PurePosixPath(found[0]).name not in (name, _TEXT)
            },
        )

    def companions(self, name: str, siblings: frozenset[str]) -> tuple[str, ...]:
        """Return the other net of a bare one, by the usual names or those made after them."""
        for word, other in (("init", "predict"), ("predict", "init")):
            partner = name.replace(word, other)
            if name.endswith(".pb") and word in name and partner in siblings:
                return tuple(path for path in (partner, _INFO) if path in siblings)
        return ()

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read both nets; the weights in the init net are passed over."""
        from klever.steps.formats.netdef.reader import read_model

        return read_model(files, claim, author)


def _is_init(path: str, types: tuple[bytes, ...]) -> bool:
    name = PurePosixPath(path).name
    if name in (_INIT, _PREDICT):
        return name == _INIT
    return bool(types) and _fills(types)


def _preferred(paths: list[str], name: str) -> list[str]:
    """Return the one path of the usual name, else all."""
    exact = [path for path in paths if PurePosixPath(path).name == name]
    return exact if len(exact) == 1 else paths


def _is_other(head: bytes) -> bool:
    """Tell whether bytes cannot begin a NetDef at all."""
    first = next(iter(decode_head(head)), None)
    return bool(head) and (first is None or _NET.get(first[0]) != first[1])


FORMAT = NetDef()
