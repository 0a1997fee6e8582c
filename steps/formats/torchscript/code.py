"""The text of TorchScript: the classes of an archive's code files and the signatures of their methods.

TorchScript is printed in Python's grammar (``torch/csrc/jit/serialization/python_print.cpp``), so that Python's
parser turns single statements into trees; nothing is compiled or run. Only the statements that are asked for are
parsed, and each is bounded in length. What does not belong here: what the statements do to shapes.
"""

import ast
import re
from dataclasses import dataclass
from typing import Final

from klever.steps.errors import LimitExceededError, MalformedModelError

#: One statement: a literal list of constants may be long, but a model's own arguments are not.
MAX_STATEMENT: Final = 64 << 10
#: How deep types nest: ``Dict[str, List[Optional[Tuple[...]]]]``.
MAX_TYPE_DEPTH: Final = 16
#: How deep ``if`` and loops nest.
MAX_BLOCK_DEPTH: Final = 60

_MANGLE: Final = re.compile(r"\.?___torch_mangle_\d+")
_CLASS: Final = re.compile(r"^class ([^\s(:]+)\(?([^):\n]*)\)?:", re.MULTILINE)
_ATTRIBUTE: Final = re.compile(r'^  (?:__annotations__\["([^"\n]*)"\] =|([^\W\d]\w*) :) (\S[^\n]*)$', re.MULTILINE)


_ASSIGNED: Final = re.compile(r"([\w, ]+?),? (?:: [^=]+ )?= ")
_NAME: Final = re.compile(r"\w+")
#: Lists and dictionaries are the only plain values that operators change.
_CHANGING: Final = re.compile(
    r"\b(?:append|extend|insert|pop|clear|remove|reverse|sort|_set_item|Delete|update|setdefault|popitem|copy_)\((\w+)"
)
_MAX_CONSTANT: Final = 1000
_RAISE: Final = "ops.prim.RaiseException("


@dataclass(frozen=True, slots=True)
class Line:
    """A statement without a block of its own."""

    text: str
    #: The variables that it assigns, or may change in place.
    changed: frozenset[str]

    def parsed(self) -> list[ast.stmt]:
        """Parse it; raises `MalformedModelError` for what is no statement."""
        return parse(self.text).body


@dataclass(frozen=True, slots=True)
class Branch:
    """An ``if`` with both its blocks."""

    text: str
    then: "Block"
    otherwise: "Block"

    def condition(self) -> ast.expr:
        """Parse the condition."""
        statement = parse(self.text).body[0]
        return statement.value if isinstance(statement, ast.Expr) else ast.Constant(None)

    @property
    def changed(self) -> frozenset[str]:
        """The variables that either block changes."""
        return self.then.changed | self.otherwise.changed


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop, or any other statement with a block."""

    body: "Block"

    @property
    def changed(self) -> frozenset[str]:
        """The variables that the body changes."""
        return self.body.changed


@dataclass(frozen=True, slots=True)
class Block:
    """Statements of the same indentation."""

    parts: tuple[Line | Branch | Loop, ...]
    #: The variables that the statements change.
    changed: frozenset[str]

    @property
    def raises(self) -> bool:
        """Whether it ends in an exception."""
        return any(isinstance(part, Line) and part.text.startswith(_RAISE) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Type:
    """A type of TorchScript: ``Dict[str, Tensor]`` is ``Type("Dict", (Type("str"), Type("Tensor")))``."""

    name: str
    arguments: tuple["Type", ...] = ()

    def __str__(self) -> str:
        inner = f"[{', '.join(map(str, self.arguments))}]" if self.arguments else ""
        return unmangled(self.name) + inner


@dataclass(frozen=True, slots=True)
class Argument:
    """A parameter of a method; ``default`` is its text, None where it has to be given."""

    name: str
    type: Type
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Method:
    """A method's signature without ``self``, whose name is kept apart, and the lines of its body."""

    name: str
    receiver: str
    arguments: tuple[Argument, ...]
    result: Type | None
    body: str

    def block(self) -> "Block":
        """Return the body's statements and nested blocks; raises `LimitExceededError` where they nest too deep."""
        lines = [(len(line) - len(line.lstrip(" ")), line.strip()) for line in self.body.splitlines()]
        lines = [(indent, text) for indent, text in lines if text and not text.startswith("#")]
        return _read_block(lines[::-1], lines[0][0] if lines else 0, 0)

    def returned_keys(self) -> list[str | None] | None:
        """Return the keys of the dictionary, or None for each item of the list, that the method's end returns.

        None where the end returns anything else, so that their number is not known before it runs.
        """
        last = self.body.rstrip().rpartition("\n")[2].strip()
        if not last.startswith(("return {", "return [")):
            return None
        if len(last) > MAX_STATEMENT:
            return None
        statement = parse(last[len("return ") :]).body[0]
        value = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(value, ast.List):
            return [None] * len(value.elts)
        if isinstance(value, ast.Dict):
            return [str(name.value)[:200] if isinstance(name, ast.Constant) else None for name in value.keys]
        return None


_EMPTY: Final = Block((), frozenset())


def _read_line(text: str) -> Line:
    assigned, changing = _ASSIGNED.match(text), _CHANGING.search(text)
    names = (*(_NAME.findall(assigned[1]) if assigned else ()), *(changing.groups() if changing else ()))
    return Line(text, frozenset(names))


def _read_block(lines: list[tuple[int, str]], indent: int, depth: int) -> Block:
    """Take the lines of a block from the end of ``lines``, which are in reverse order."""
    if depth > MAX_BLOCK_DEPTH:
        raise LimitExceededError(f"blocks in the code nest deeper than {MAX_BLOCK_DEPTH}")
    parts: list[Line | Branch | Loop] = []
    while lines and lines[-1][0] >= indent:
        _, text = lines.pop()
        if not text.endswith(":"):
            parts.append(_read_line(text))
            continue
        inner = _read_inner(lines, indent, depth)
        if text.startswith("if "):
            otherwise = _EMPTY
            if lines and lines[-1] == (indent, "else:"):
                lines.pop()
                otherwise = _read_inner(lines, indent, depth)
            parts.append(Branch(text[len("if ") : -1], inner, otherwise))
        else:
            parts.append(Loop(inner))
    return Block(tuple(parts), frozenset().union(*(part.changed for part in parts)))


def _read_inner(lines: list[tuple[int, str]], indent: int, depth: int) -> Block:
    is_deeper = bool(lines) and lines[-1][0] > indent
    return _read_block(lines, lines[-1][0], depth + 1) if is_deeper else _EMPTY


def unmangled(name: str) -> str:
    """Remove what makes TorchScript's type names unique: ``conv.___torch_mangle_3.Conv2d`` is ``conv.Conv2d``."""
    return _MANGLE.sub("", name)


class Code:
    """The text of one code file."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._methods: dict[tuple[str, str], Method | None] = {}
        self._classes = {match[1]: match for match in _CLASS.finditer(text)}

    def __contains__(self, name: str) -> bool:
        return name in self._classes

    def base(self, name: str) -> str:
        """Return the base of a class: ``Module``, ``NamedTuple``, ``Interface``, or nothing."""
        return self._classes[name][2].strip()

    def fields(self, name: str) -> tuple[tuple[str, Type], ...]:
        """Return the attributes that a class declares and their types, in order."""
        found = []
        for match in _ATTRIBUTE.finditer(self._block(name)):
            text = match[3].split(" = ")[0]
            found.append((match[1] if match[1] is not None else match[2], parse_type(text)))
        return tuple(found)

    def constant(self, name: str, attribute: str) -> str | None:
        """Return the text of the value that a class gives an attribute: ``stride : Final[int] = 1``."""
        for match in _ATTRIBUTE.finditer(self._block(name)):
            if attribute in (match[1], match[2]):
                _, equals, value = match[3].partition(" = ")
                return value if equals and len(value) < _MAX_CONSTANT else None
        return None

    def method(self, name: str, method: str) -> Method | None:
        """Return a method of a class, None where it has none of that name."""
        if (name, method) not in self._methods:
            self._methods[name, method] = _find_method(self._block(name), "  ", method)
        return self._methods[name, method]

    def function(self, name: str) -> Method | None:
        """Return a function of the file (the methods of PyTorch 1.0, which had no classes, are such)."""
        if ("", name) not in self._methods:
            self._methods["", name] = _find_method(self._text, "", name)
        return self._methods["", name]

    def _block(self, name: str) -> str:
        start = self._classes[name].end()
        following = re.compile(r"^\S", re.MULTILINE).search(self._text, start + 1)
        return self._text[start : following.start() if following else len(self._text)]


def parse_type(text: str) -> Type:
    """Parse the text of a type."""
    statement = parse(text).body
    if len(statement) != 1 or not isinstance(statement[0], ast.Expr):
        raise MalformedModelError(f"{text[:60]!r} in the code is no type")
    return _type_of(statement[0].value)


def _find_method(block: str, indent: str, name: str) -> Method | None:
    start = re.compile(rf"^{indent}def {re.escape(name)}\(", re.MULTILINE).search(block)
    if start is None:
        return None
    end = re.compile(r":[ \t]*$", re.MULTILINE).search(block, start.end())
    if end is None:
        raise MalformedModelError(f"the code ends inside the signature of {name}")
    header = " ".join(block[start.start() : end.start()].split())
    following = re.compile(rf"^ {{0,{len(indent)}}}\S", re.MULTILINE).search(block, end.end())
    body = block[end.end() : following.start() if following else len(block)].lstrip("\n")
    definition = parse(f"{header}: pass").body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise MalformedModelError(f"the signature of {name} in the code cannot be understood")
    given = [*definition.args.posonlyargs, *definition.args.args, *definition.args.kwonlyargs]
    if not given:
        raise MalformedModelError(f"{name} in the code has no self")
    defaults = [*definition.args.defaults]
    texts = [None] * (len(given) - len(defaults)) + [_text_of(default) for default in defaults]
    return Method(
        name,
        given[0].arg,
        tuple(
            Argument(arg.arg, _type_of(arg.annotation) if arg.annotation else Type("Tensor"), default)
            for arg, default in list(zip(given, texts, strict=True))[1:]
        ),
        _type_of(definition.returns) if definition.returns else None,
        body,
    )


def parse(text: str) -> ast.Module:
    """Parse one statement or type; raises `MalformedModelError` for what is none."""
    if len(text) > MAX_STATEMENT:
        raise LimitExceededError(f"a statement in the code has {len(text)} characters")
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise MalformedModelError(f"{text[:60]!r} in the code is no TorchScript") from None


def _type_of(node: ast.expr, depth: int = 0) -> Type:
    if depth > MAX_TYPE_DEPTH:
        raise LimitExceededError(f"a type in the code nests deeper than {MAX_TYPE_DEPTH}")
    if isinstance(node, ast.Subscript):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return Type(dotted(node.value), tuple(_type_of(one, depth + 1) for one in inner))
    if isinstance(node, ast.Constant):
        return Type(str(node.value)[:100])
    if isinstance(node, ast.Tuple) and not node.elts:
        return Type("()")
    return Type(dotted(node))


def dotted(node: ast.expr) -> str:
    """Return the text of a dotted name; raises `MalformedModelError` for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise MalformedModelError("the code has an expression in a type's place")
    return ".".join([node.id, *reversed(parts)])


def _text_of(node: ast.expr) -> str:
    try:
        return ast.unparse(node)[:100]
    except RecursionError:
        return "..."
