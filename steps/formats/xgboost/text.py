"""Walk a JSON document in order, taking or passing over each value, without holding more than one."""

import re
from collections.abc import Iterator
from typing import Final

from klever.steps.encodings.json import parse_json
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.formats.xgboost.window import Window

_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_SCALAR_END: Final = frozenset(b",]} \t\r\n")
_STRUCTURE: Final = re.compile(rb'["\[\]{}]')
_STRING_PART: Final = re.compile(rb'["\\]')
#: Nested containers; those of a model nest seven.
_MAX_DEPTH: Final = 64
#: Quotes, brackets and keys gone past one by one; see `_MAX_VALUES` of the UBJSON walker.
_MAX_MARKS: Final = 600_000
_QUOTE, _BACKSLASH, _COMMA, _COLON, _OPEN, _CLOSE = b'"\\,:{}'
_OPEN_LIST, _CLOSE_LIST = b"[]"


class JSONWalker:
    """A cursor in a JSON document."""

    #: What stands before an object's entry of this name, where one entry has to be found from behind.
    KEY: Final = b'"%s"'

    def __init__(self, window: Window, marks: int = _MAX_MARKS) -> None:
        self.window = window
        self._left = marks

    def at(self, position: int) -> "JSONWalker":
        """Return a cursor elsewhere in the same document."""
        return JSONWalker(self.window.at(position))

    def entries(self, *, opened: bool = False) -> Iterator[str]:
        """Yield the keys of the object here; after each, the caller takes or passes over its value.

        ``opened`` starts within an object, before one of its keys.
        """
        if not opened:
            self._expect(_OPEN)
        first = True
        while (byte := self._next()) != _CLOSE:
            if not first:
                self._expect(_COMMA)
            elif byte == _COMMA and opened:
                self.window.jump(1)
            first = False
            self._left -= 100  # a key costs about as much as so many of the marks that are only counted
            key = self.value()
            if not isinstance(key, str):
                raise MalformedModelError(f"the JSON has a key that is no text at byte {self.window.position}")
            self._expect(_COLON)
            yield key
        self.window.jump(1)

    def items(self) -> Iterator[None]:
        """Stop at each item of the array here; the caller takes or passes over it."""
        self._expect(_OPEN_LIST)
        first = True
        while self._next() != _CLOSE_LIST:
            if not first:
                self._expect(_COMMA)
            first = False
            self._left -= 1
            yield
        self.window.jump(1)

    def value(self) -> object:
        """Return the value here.

        Raises `LimitExceededError` for one that no header holds, `MalformedModelError` for what is not JSON.
        """
        parts: list[bytes] = []
        self._pass(parts)
        found: object = parse_json(b"".join(parts), f"the value before byte {self.window.position}")
        return found

    def skip(self) -> None:
        """Go past the value here."""
        self._pass(None)

    def finished(self) -> bool:
        """Whether nothing but space is left."""
        window = self.window
        while window.position < window.size:
            if not self._pass_space():
                return False
        return True

    def _pass_space(self) -> int:
        """Go past space in the present block; return how much there was."""
        window = self.window
        index = window.available()
        space = _SPACE.match(window.block, index)
        length = space.end() - index if space else 0
        window.jump(length)
        return length

    def _next(self) -> int:
        while self._pass_space():
            pass
        return self.window.peek()

    def _expect(self, expected: int) -> None:
        if self._next() != expected:
            raise MalformedModelError(
                f"the JSON has {bytes([self.window.peek()])!r} at byte {self.window.position}, "
                f"expected {bytes([expected])!r}"
            )
        self.window.jump(1)

    def _pass(self, parts: list[bytes] | None) -> None:
        """Go past a value and keep its bytes in ``parts``, if there are any to be kept."""
        if self._next() not in b'"[{':
            self._pass_scalar(parts)
            return
        window = self.window
        depth, quoted, kept = 0, False, 0
        while True:
            index = begin = window.available()
            block = window.block
            done = False
            while not done and (match := (_STRING_PART if quoted else _STRUCTURE).search(block, index)):
                index = match.end()
                byte = block[index - 1]
                self._left -= 1
                if byte == _QUOTE:
                    quoted = not quoted
                elif byte == _BACKSLASH:
                    index += 1
                else:
                    depth += 1 if byte in b"[{" else -1
                done = depth <= 0 and not quoted
            if self._left < 0 or depth > _MAX_DEPTH:
                raise LimitExceededError("the JSON has too many values, or nests them too deep, for a model")
            # An escape may end in the next block, so the position can lie one byte behind this one.
            end = index if done else max(index, len(block))
            if parts is not None:
                kept += end - begin
                if kept > window.limit:
                    raise LimitExceededError(f"a value of the JSON is longer than {window.limit >> 20} MiB")
                parts.append(window.take(end - begin))
            else:
                window.jump(end - begin)
            if done:
                return

    def _pass_scalar(self, parts: list[bytes] | None) -> None:
        window = self.window
        length = 0
        while (byte := window.peek()) not in _SCALAR_END:
            length += 1
            if length > 64:
                raise MalformedModelError(f"the JSON has no value at byte {window.position - length}")
            if parts is not None:
                parts.append(bytes([byte]))
            window.jump(1)
        if not length:
            raise MalformedModelError(f"the JSON has no value at byte {window.position}")
