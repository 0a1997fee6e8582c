r"""Pickles by their opcodes: the structure that unpickling would build, with every call left undone.

    >>> from klever.steps.files import BytesSource
    >>> pickle = read_pickle(Stream(BytesSource(b"cos\nsystem\n(S'id'\ntR.")))
    >>> pickle.root.function, pickle.root.args
    (Global(module='os', name='system'), ('id',))

Nothing is imported, called or looked up: a global is a pair of names, and what unpickling would call becomes
an `Object` that remembers the function, its arguments and the state given to it. Other values are plain Python
ones, with large bytes and texts as `Blob`, skipped by position. Structures may be cyclic and of any depth, so
who walks them must not recurse unbounded. What does not belong here: what a class means, or whether it is safe.

The opcodes: CPython's ``Lib/pickletools.py``, protocols 0 to 5.
"""

import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from klever.steps.encodings.stream import Stream
from klever.steps.errors import LimitExceededError, MalformedModelError

#: Opcodes run in one file, nested pickles together: more than any estimator or module takes.
MAX_STEPS: Final = 2_000_000
#: Containers and calls of one file; two memo entries count as one.
MAX_OBJECTS: Final = 300_000
#: Text and bytes kept of one file, in bytes.
MAX_KEPT_BYTES: Final = 16 << 20
#: Bytes values longer than this become a `Blob`; small arrays such as the classes' names stay below.
MAX_BYTES: Final = 4 << 10
#: Texts longer than this become a `Blob`.
MAX_TEXT_BYTES: Final = 64 << 10
#: The widest integer, in bytes or digits: no shape or count needs more, and parsing is quadratic.
MAX_INTEGER: Final = 1 << 10

#: The first byte of protocol 2 and later.
PROTO: Final = 0x80
HIGHEST_PROTOCOL: Final = 5

#: A plain Python value, or one of this module's nodes.
Value: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function that unpickling would import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False, repr=False)
class Object:
    """A call that unpickling would make: of a function, or of a class to make an instance."""

    function: Value
    args: tuple[Value, ...]
    kwargs: dict[Value, Value] | None = None
    #: What BUILD hands over: usually the instance's ``__dict__``; None without BUILD.
    state: Value = None
    #: What APPENDS, ADDITEMS and SETITEMS add to it, as to an OrderedDict.
    items: list[Value] | None = None
    entries: dict[Value, Value] | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Persistent:
    """A reference to something outside the pickle, such as a tensor's storage."""

    id: Value


@dataclass(frozen=True, slots=True, eq=False)
class Blob:
    """Bytes or text too long to keep; ``length`` in bytes, -1 for a buffer outside the pickle."""

    length: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Key:
    """A dictionary's key that is neither a number, a text nor a node: compared by identity."""

    value: Value


class Budget:
    """What may still be spent on a file."""

    __slots__ = ("kept", "objects", "steps")

    def __init__(self) -> None:
        self.steps = MAX_STEPS
        self.objects = 2 * MAX_OBJECTS
        self.kept = MAX_KEPT_BYTES

    def take_object(self, halves: int = 2) -> None:
        """Count one object, or half of one; raises `LimitExceededError` beyond the limit."""
        self.objects -= halves
        if self.objects < 0:
            raise LimitExceededError(f"the pickle builds more than {MAX_OBJECTS} objects")

    def take_bytes(self, count: int) -> None:
        """Count bytes that are kept; raises `LimitExceededError` beyond the limit."""
        self.kept -= count
        if self.kept < 0:
            raise LimitExceededError(f"the pickle holds more than {MAX_KEPT_BYTES} bytes of text")


@dataclass(frozen=True, slots=True)
class Pickle:
    """One pickle: its root value, the globals it names in order, and those among them that it would call."""

    root: Value
    globals: tuple[Global, ...]
    called: frozenset[Global]
    protocol: int


#: Called after each BUILD with the object, where raw data follows it in the stream (joblib's arrays).
AfterBuild: TypeAlias = Callable[[Object], None]


def read_pickle(stream: Stream, *, after_build: AfterBuild | None = None, budget: Budget | None = None) -> Pickle:
    """Run the pickle at the stream's position up to its STOP, symbolically.

    ``budget`` is shared by pickles nested in one file. Raises `MalformedModelError` for what unpickling would
    not accept either, `TruncatedModelError` where STOP is missing, `LimitExceededError` beyond the budget.
    """
    return _Machine(stream, budget or Budget(), after_build).run()


def key(value: Value) -> Value:
    """Return what stands for ``value`` as a key in the dictionaries of this module."""
    # Hashing nested tuples recurses, and takes exponential time where they share their parts.
    return Key(value) if isinstance(value, (tuple, list, dict, set)) else value


class _Machine:
    """The pickle machine: a stack, the stacks below each MARK, and a memo."""

    def __init__(self, stream: Stream, budget: Budget, after_build: AfterBuild | None) -> None:
        self.stream = stream
        self.budget = budget
        self.after_build = after_build
        self.stack: list[Value] = []
        self.below: list[list[Value]] = []
        self.memo: dict[int, Value] = {}
        self.globals: dict[Global, Global] = {}
        self.called: set[Global] = set()
        self.protocol = 0

    def run(self) -> Pickle:
        take, budget = self.stream.take, self.budget
        try:
            while True:
                opcode = take(1)[0]
                budget.steps -= 1
                if budget.steps < 0:
                    raise LimitExceededError(f"the pickle takes more than {MAX_STEPS} steps")
                if opcode == _STOP:
                    root = self.stack.pop()
                    return Pickle(root, tuple(self.globals), frozenset(self.called), self.protocol)
                operation = _OPERATIONS[opcode]
                if operation is None:
                    raise self._malformed(f"there is no opcode 0x{opcode:02x}")
                operation(self)
        except IndexError:
            raise self._malformed("an opcode finds too few values on the stack") from None

    def _malformed(self, reason: str) -> MalformedModelError:
        return MalformedModelError(f"not a valid pickle before offset {self.stream.position}: {reason}")

    # The stack

    def push_new(self, value: Value) -> None:
        self.budget.take_object()
        self.stack.append(value)

    def pop_to_mark(self) -> list[Value]:
        values = self.stack
        self.stack = self.below.pop()
        return values

    def mark(self) -> None:
        self.push_new(None)
        self.stack.pop()
        self.below.append(self.stack)
        self.stack = []

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_to_mark()

    def duplicate(self) -> None:
        self.stack.append(self.stack[-1])

    # Numbers and texts

    def uint(self, width: int) -> int:
        return int.from_bytes(self.stream.take(width), "little")

    def signed(self, width: int) -> int:
        if width > MAX_INTEGER:
            raise LimitExceededError(f"the pickle holds an integer of {width} bytes")
        return int.from_bytes(self.stream.take(width), "little", signed=True)

    def line(self, limit: int = MAX_TEXT_BYTES) -> bytes | Blob:
        line = self.stream.line(limit)
        if isinstance(line, int):
            return Blob(line)
        self.budget.take_bytes(len(line))
        return line

    def number_line(self) -> str:
        line = self.stream.line(MAX_INTEGER)
        if isinstance(line, int):
            raise LimitExceededError(f"the pickle holds a number of {line} digits")
        return line.decode("latin-1").strip()

    def int_line(self) -> None:
        text = self.number_line()
        try:
            self.stack.append({"00": False, "01": True}[text] if text in ("00", "01") else int(text.rstrip("L")))
        except ValueError:
            raise self._malformed(f"{text[:20]!r} is no integer") from None

    def float_line(self) -> None:
        text = self.number_line()
        try:
            self.stack.append(float(text))
        except ValueError:
            raise self._malformed(f"{text[:20]!r} is no number") from None

    def binary_float(self) -> None:
        self.stack.append(struct.unpack(">d", self.stream.take(8))[0])

    def sized(self, width: int, limit: int) -> bytes | Blob:
        length = self.uint(width)
        if length > limit:
            self.stream.skip(length)
            return Blob(length)
        self.budget.take_bytes(length)
        return self.stream.take(length)

    def push_bytes(self, width: int) -> None:
        self.stack.append(self.sized(width, MAX_BYTES))

    def push_old_string(self, width: int) -> None:
        """Push Python 2's ``str``, which may be text or bytes; Latin-1 keeps either."""
        value = self.sized(width, MAX_BYTES)
        self.stack.append(value if isinstance(value, Blob) else value.decode("latin-1"))

    def push_text(self, width: int) -> None:
        value = self.sized(width, MAX_TEXT_BYTES)
        # Python writes lone surrogates as they are ("surrogatepass"); nothing here needs to tell them apart.
        self.stack.append(value if isinstance(value, Blob) else value.decode("utf-8", "backslashreplace"))

    def string_line(self) -> None:
        line = self.line(MAX_TEXT_BYTES)
        if isinstance(line, bytes):
            text = line.decode("latin-1").strip()
            if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
                raise self._malformed("a string without its quotes")
            self.stack.append(_ESCAPE.sub(_unescape, text[1:-1]))
        else:
            self.stack.append(line)

    def unicode_line(self) -> None:
        line = self.line()
        try:
            self.stack.append(line.decode("raw-unicode-escape") if isinstance(line, bytes) else line)
        except UnicodeDecodeError:
            raise self._malformed("a text with a broken escape") from None

    # Containers

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.push_new(values)

    def entries(self, values: list[Value]) -> Iterable[tuple[Value, Value]]:
        if len(values) % 2:
            raise self._malformed("a key without a value")
        return zip(map(key, values[::2]), values[1::2], strict=True)

    def append_all(self, values: list[Value]) -> None:
        target = self.stack[-1]
        if isinstance(target, Object):
            target.items = target.items or []
            target.items.extend(values)
        elif isinstance(target, list):
            target.extend(values)
        else:
            raise self._malformed("something is appended to what is no list")

    def set_all(self, values: list[Value]) -> None:
        target = self.stack[-1]
        if isinstance(target, Object):
            target.entries = target.entries or {}
            target.entries.update(self.entries(values))
        elif isinstance(target, dict):
            target.update(self.entries(values))
        else:
            raise self._malformed("an item is set in what is no dictionary")

    def set_one(self) -> None:
        value = self.stack.pop()
        name = self.stack.pop()
        self.set_all([name, value])

    # Globals and calls

    def push_global(self, module: Value, name: Value) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise self._malformed("a global's name is no text")
        found = Global(module, name)
        if found not in self.globals:
            self.budget.take_object()
            self.globals[found] = found
        self.stack.append(self.globals[found])

    def global_line(self) -> None:
        module, name = self.line(), self.line()
        if isinstance(module, Blob) or isinstance(name, Blob):
            raise LimitExceededError("the pickle names a global of more than 64 KiB")
        self.push_global(module.decode("utf-8", "backslashreplace"), name.decode("utf-8", "backslashreplace"))

    def stack_global(self) -> None:
        name = self.stack.pop()
        self.push_global(self.stack.pop(), name)

    def extension(self, width: int) -> None:
        self.push_global("copyreg", f"_extension_{self.uint(width)}")

    def call(self, function: Value, args: Value, kwargs: Value = None) -> None:
        if not isinstance(args, tuple) or not isinstance(kwargs, dict | None):
            raise self._malformed("a call's arguments are no tuple")
        if isinstance(function, Global):
            self.called.add(function)
        self.push_new(Object(function, args, kwargs))

    def reduce(self) -> None:
        args = self.stack.pop()
        self.call(self.stack.pop(), args)

    def new_object_with_keywords(self) -> None:
        kwargs = self.stack.pop()
        args = self.stack.pop()
        self.call(self.stack.pop(), args, kwargs)

    def instance(self) -> None:
        args = tuple(self.pop_to_mark())
        self.global_line()
        self.call(self.stack.pop(), args)

    def object(self) -> None:
        function, *args = self.pop_to_mark() or [None]
        self.call(function, tuple(args))

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Object):
            target.state = state
            if self.after_build is not None:
                self.after_build(target)
        elif not isinstance(target, Global):
            raise self._malformed("a state is given to what is no object")

    def persistent_line(self) -> None:
        line = self.line()
        self.push_new(Persistent(line.decode("utf-8", "backslashreplace") if isinstance(line, bytes) else line))

    # The memo

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise self._malformed(f"memo {index} was never stored")
        self.stack.append(self.memo[index])

    def put(self, index: int) -> None:
        self.budget.take_object(halves=1)
        self.memo[index] = self.stack[-1]

    def memo_line(self) -> int:
        text = self.number_line()
        if not (text.isascii() and text.isdecimal()):
            raise self._malformed(f"{text[:20]!r} is no memo index")
        return int(text)

    def start(self) -> None:
        self.protocol = self.uint(1)
        if self.protocol > HIGHEST_PROTOCOL:
            raise self._malformed(f"there is no protocol {self.protocol}")


_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)")
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def _unescape(match: "re.Match[str]") -> str:
    code = match[1]
    if code[0] == "x":
        return chr(int(code[1:], 16))
    return chr(int(code, 8) & 0xFF) if code[0] in "01234567" else _ESCAPED.get(code, code)


_STOP: Final = ord(".")
_NAMED: Final[dict[str | int, Callable[[_Machine], object]]] = {
    PROTO: _Machine.start,
    0x95: lambda m: m.stream.take(8),  # FRAME only helps buffering
    "(": _Machine.mark,
    "0": _Machine.pop,
    "1": _Machine.pop_to_mark,
    "2": _Machine.duplicate,
    "N": lambda m: m.stack.append(None),
    0x88: lambda m: m.stack.append(True),
    0x89: lambda m: m.stack.append(False),
    "I": _Machine.int_line,
    "L": _Machine.int_line,
    "J": lambda m: m.stack.append(m.signed(4)),
    "K": lambda m: m.stack.append(m.uint(1)),
    "M": lambda m: m.stack.append(m.uint(2)),
    0x8A: lambda m: m.stack.append(m.signed(m.uint(1))),
    0x8B: lambda m: m.stack.append(m.signed(m.uint(4))),
    "F": _Machine.float_line,
    "G": _Machine.binary_float,
    "S": _Machine.string_line,
    "T": lambda m: m.push_old_string(4),
    "U": lambda m: m.push_old_string(1),
    "V": _Machine.unicode_line,
    "X": lambda m: m.push_text(4),
    0x8C: lambda m: m.push_text(1),
    0x8D: lambda m: m.push_text(8),
    "B": lambda m: m.push_bytes(4),
    "C": lambda m: m.push_bytes(1),
    0x8E: lambda m: m.push_bytes(8),
    0x96: lambda m: m.push_bytes(8),
    0x97: lambda m: m.push_new(Blob(-1)),
    0x98: lambda m: m.stack[-1],
    ")": lambda m: m.stack.append(()),
    "t": lambda m: m.push_new(tuple(m.pop_to_mark())),
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    "]": lambda m: m.push_new([]),
    "l": lambda m: m.push_new(m.pop_to_mark()),
    "a": lambda m: m.append_all([m.stack.pop()]),
    "e": lambda m: m.append_all(m.pop_to_mark()),
    "}": lambda m: m.push_new({}),
    "d": lambda m: m.push_new(dict(m.entries(m.pop_to_mark()))),
    "s": _Machine.set_one,
    "u": lambda m: m.set_all(m.pop_to_mark()),
    # A set's elements may be nodes of any kind, so that a list is what holds them without comparing.
    0x8F: lambda m: m.push_new([]),
    0x90: lambda m: m.append_all(m.pop_to_mark()),
    0x91: lambda m: m.push_new(m.pop_to_mark()),
    "c": _Machine.global_line,
    0x93: _Machine.stack_global,
    0x82: lambda m: m.extension(1),
    0x83: lambda m: m.extension(2),
    0x84: lambda m: m.extension(4),
    "i": _Machine.instance,
    "o": _Machine.object,
    "R": _Machine.reduce,
    0x81: _Machine.reduce,
    0x92: _Machine.new_object_with_keywords,
    "b": _Machine.build,
    "P": _Machine.persistent_line,
    "Q": lambda m: m.push_new(Persistent(m.stack.pop())),
    "g": lambda m: m.get(m.memo_line()),
    "h": lambda m: m.get(m.uint(1)),
    "j": lambda m: m.get(m.uint(4)),
    "p": lambda m: m.put(m.memo_line()),
    "q": lambda m: m.put(m.uint(1)),
    "r": lambda m: m.put(m.uint(4)),
    0x94: lambda m: m.put(len(m.memo)),
}
_OPERATIONS: Final[list[Callable[[_Machine], object] | None]] = [
    _NAMED.get(code, _NAMED.get(chr(code))) for code in range(256)
]
