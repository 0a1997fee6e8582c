"""Walk a UBJSON document in order; arrays of one type are passed over by their length.

The definition: https://ubjson.org, draft 12, as XGBoost writes it since 1.6 (``src/common/json.cc``).
"""

import struct
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.formats.xgboost.window import Window

#: Marker to what ``struct`` calls it; all are big-endian.
_NUMBERS: Final = MappingProxyType({
    b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q", b"d": ">f", b"D": ">d", b"C": ">c"
})  # fmt: skip
_CONSTANTS: Final = MappingProxyType({b"Z": None, b"N": None, b"T": True, b"F": False})
_INTEGERS: Final = b"iUIlL"
#: Nested containers; those of a model nest seven.
_MAX_DEPTH: Final = 64
#: Values outside of typed arrays; what XGBoost writes is read from both ends and has few before the trees.
_MAX_VALUES: Final = 400_000


class UBJSONWalker:
    """A cursor in a UBJSON document."""

    KEY: Final = b"L\0\0\0\0\0\0\0\x13%s"

    def __init__(self, window: Window, values: int = _MAX_VALUES) -> None:
        self.window = window
        self._left = values

    def at(self, position: int) -> "UBJSONWalker":
        """Return a cursor elsewhere in the same document."""
        return UBJSONWalker(self.window.at(position))

    def entries(self, *, opened: bool = False) -> Iterator[str]:
        """Yield the keys of the object here; after each, the caller takes or passes over its value."""
        count: int | None = None
        if not opened:
            if self._marker() != b"{":
                raise MalformedModelError(f"the UBJSON has no object at byte {self.window.position - 1}")
            kind, count = self._header()
            if kind is not None:
                raise MalformedModelError("the UBJSON has an object of one type, which XGBoost does not write")
        while True:
            if count is None:
                if self.window.peek() == ord("}"):
                    self.window.jump(1)
                    return
            elif count == 0:
                return
            else:
                count -= 1
            self._spend()
            yield self._text()

    def items(self) -> Iterator[None]:
        """Stop at each item of the array here; the caller takes or passes over it."""
        if self._marker() != b"[":
            raise MalformedModelError(f"the UBJSON has no array at byte {self.window.position - 1}")
        kind, count = self._header()
        if kind is not None:
            raise MalformedModelError("the UBJSON has an array of one type in place of objects")
        while count != 0:
            if count is None and self.window.peek() == ord("]"):
                self.window.jump(1)
                return
            count = None if count is None else count - 1
            self._spend()
            yield

    def value(self) -> object:
        """Return the value here."""
        return self._value(self._marker(), 0)

    def skip(self) -> None:
        """Go past the value here; containers are kept on a stack of (closing marker, type, count)."""
        stack: list[_Container] = []
        self._pass(self._marker(), stack)
        while stack:
            top = stack[-1]
            if top.count == 0 or (top.count is None and self.window.peek() == top.closing):
                if top.count is None:
                    self.window.jump(1)
                stack.pop()
                continue
            if top.count is not None:
                top.count -= 1
            self._spend()
            if top.closing == ord("}"):
                self.window.jump(self._length())
            self._pass(top.kind or self._marker(), stack)

    def finished(self) -> bool:
        """Whether nothing is left."""
        return self.window.position == self.window.size

    def _marker(self) -> bytes:
        marker = self.window.take(1)
        while marker == b"N":
            self._spend()
            marker = self.window.take(1)
        return marker

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise LimitExceededError(f"the UBJSON holds more than {_MAX_VALUES} values outside of arrays")

    def _length(self) -> int:
        marker = self.window.take(1)
        if marker not in _INTEGERS:
            raise MalformedModelError(f"the UBJSON has no length at byte {self.window.position - 1}")
        length = self._number(marker)
        if not isinstance(length, int) or length < 0:
            raise MalformedModelError(f"the UBJSON has a negative length at byte {self.window.position}")
        return length

    def _number(self, marker: bytes) -> object:
        form = _NUMBERS[marker]
        (number,) = struct.unpack(form, self.window.take(struct.calcsize(form)))
        return number

    def _text(self) -> str:
        data = self.window.take(self._length())
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise MalformedModelError(f"the UBJSON has text that is not UTF-8 at {self.window.position}") from None

    def _header(self) -> tuple[bytes | None, int | None]:
        """Read a container's optional type and count (draft 12, "Optimized Format")."""
        kind = None
        if self.window.peek() == ord("$"):
            self.window.jump(1)
            kind = self.window.take(1)
        if self.window.peek() == ord("#"):
            self.window.jump(1)
            return kind, self._length()
        if kind is not None:
            raise MalformedModelError(f"the UBJSON has a type without a count at byte {self.window.position}")
        return None, None

    def _value(self, marker: bytes, depth: int) -> object:
        if depth > _MAX_DEPTH:
            raise LimitExceededError(f"the UBJSON nests more than {_MAX_DEPTH} containers")
        self._spend()
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker in _NUMBERS:
            return self._number(marker)
        if marker in (b"S", b"H"):
            return self._text()
        if marker == b"{":
            self.window.position -= 1
            return {key: self._value(self._marker(), depth + 1) for key in self.entries()}
        if marker != b"[":
            raise MalformedModelError(f"the UBJSON has no value at byte {self.window.position - 1}")
        return self._array(depth)

    def _array(self, depth: int) -> list[object]:
        kind, count = self._header()
        if kind is not None and kind not in _NUMBERS:
            raise MalformedModelError(f"the UBJSON has an array of {kind!r}, which XGBoost does not write")
        if kind is not None and count is not None:
            form = _NUMBERS[kind]
            return list(struct.unpack(f">{count}{form[1]}", self.window.take(struct.calcsize(form) * count)))
        values: list[object] = []
        while len(values) != count:
            if count is None and self.window.peek() == ord("]"):
                self.window.jump(1)
                break
            values.append(self._value(kind or self._marker(), depth + 1))
        return values

    def _pass(self, marker: bytes, stack: list["_Container"]) -> None:
        """Go past a plain value, or put the container that begins here on the stack."""
        if marker in _NUMBERS:
            self.window.jump(struct.calcsize(_NUMBERS[marker]))
        elif marker in (b"S", b"H"):
            self.window.jump(self._length())
        elif marker in (b"[", b"{"):
            kind, count = self._header()
            if marker == b"[" and kind is not None and kind in _NUMBERS and count is not None:
                self.window.jump(struct.calcsize(_NUMBERS[kind]) * count)
                return
            if kind in _CONSTANTS:
                raise MalformedModelError("the UBJSON has a container of constants, which XGBoost does not write")
            if len(stack) >= _MAX_DEPTH:
                raise LimitExceededError(f"the UBJSON nests more than {_MAX_DEPTH} containers")
            stack.append(_Container(ord("]" if marker == b"[" else "}"), kind, count))
        elif marker not in _CONSTANTS:
            raise MalformedModelError(f"the UBJSON has no value at byte {self.window.position - 1}")


class _Container:
    """An open container, with how many values it still has to have where it says so."""

    __slots__ = ("closing", "count", "kind")

    def __init__(self, closing: int, kind: bytes | None, count: int | None) -> None:
        self.closing = closing
        self.kind = kind
        self.count = count
