"""What flows through a module: shapes and types of tensors, followed through the code without running it.

From what operators demand of their operands follows what the inputs have to be (a convolution's weight tells the
channels), and from that, or from given inputs, what the results are. Where a condition is known one branch is
followed, else what both agree on stays; what a loop assigns is unknown, as is the result of an operator without a
rule. What does not belong here: parsing, naming.
"""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from klever.steps.encodings.pickle import Global, Object, Value
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.formats.torchscript.code import Block, Branch, Code, Line, Loop, Method, dotted
from klever.steps.formats.torchscript.rules import FUNCTIONS, call_operator
from klever.steps.formats.torchscript.rules.modules import BLOCKS, CLASSES
from klever.steps.formats.torchscript.values import UNKNOWN, Known, call_rule, join, spoil
from klever.steps.frameworks.pytorch import tensor_type, untagged

#: Expressions evaluated in one archive; a traced network of thousands of layers stays below it.
_MAX_STEPS: Final = 100_000
#: How deep modules call each other, and expressions nest.
_MAX_DEPTH: Final = 40

#: Items of a module's list that are kept: a recurrent layer's weights are such a list.
_MAX_ITEMS: Final = 1000

#: A `Known` tensor, a `Module`, a plain value, a list or tuple of those, or `UNKNOWN`.
Flowing: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the archive as its pickle has it: a class and a state."""

    object: Object

    @property
    def kind(self) -> str:
        """The qualified name of its class."""
        return str(self.object.function)

    def attribute(self, name: str) -> Flowing:
        """Return what an attribute holds."""
        state = self.object.state
        return _flowing(state.get(name, UNKNOWN)) if isinstance(state, dict) else UNKNOWN


def _flowing(value: Flowing) -> Flowing:
    if isinstance(value, Object):
        value = untagged(value)
    if isinstance(value, Object):
        found = tensor_type(value)
        if found is not None:
            return Known(found.dtype, found.shape)
        if str(value.function).endswith("PackedParamsBase"):
            return _packed_weight(value.state)
        return Module(value) if isinstance(value.function, Global) else UNKNOWN
    if isinstance(value, list | tuple) and len(value) <= _MAX_ITEMS:
        return type(value)(map(_flowing, value)) if not any(isinstance(one, list | tuple) for one in value) else UNKNOWN
    return value if value is None or isinstance(value, bool | int | float | str) else UNKNOWN


#: What a method returns stands under a name that no variable has.
_RESULT: Final = "return"


class _Scope:
    """The local variables of a method, or of a branch, which sees copies of those around it."""

    __slots__ = ("_copy", "_outer", "_values")

    def __init__(self, outer: "_Scope | None", copy: Callable[[Flowing], Flowing]) -> None:
        self._values: dict[str, Flowing] = {}
        self._outer = outer
        self._copy = copy

    def get(self, name: str) -> Flowing:
        if name not in self._values and self._outer is not None:
            self._values[name] = self._copy(self._outer.get(name))
        return self._values.get(name, UNKNOWN)

    def set(self, name: str, value: Flowing) -> None:
        self._values[name] = value


def _packed_weight(state: Value) -> Flowing:
    """Return the weight, the first tensor with the rank of one, in the state of a quantised layer's parameters."""
    for one in state if isinstance(state, tuple | list) else ():
        for value in one if isinstance(one, tuple | list) else (one,):
            found = tensor_type(value)
            if found is not None and len(found.shape) > 1:
                return Known(None, found.shape)
    return UNKNOWN


@dataclass(frozen=True, slots=True)
class _Function:
    """A function of the archive's own code."""

    name: str


class Flow:
    """One pass through a method; ``find`` returns the code file of a qualified name, None if there is none."""

    def __init__(self, find: Callable[[str], Code | None], constants: list[Value]) -> None:
        self._find = find
        self._constants = constants
        self._steps = _MAX_STEPS
        self._depth = 0
        self._blocks: dict[Method, Block] = {}

    def run(self, module: Module, method: Method, inputs: list[Known]) -> Flowing:
        """Follow the method; return its result. ``inputs`` get to know what the operators demand of them."""
        is_given = [one.dtype is not None or one.shape is not None for one in inputs]
        pairs = zip(method.arguments, inputs, is_given, strict=False)
        # Whether an optional argument comes is open unless something is said about it.
        values = [one if given or argument.type.name != "Optional" else UNKNOWN for argument, one, given in pairs]
        return self._follow(method, module, values)

    def _follow(self, method: Method, receiver: Flowing, values: list[Flowing]) -> Flowing:
        if self._depth >= _MAX_DEPTH:
            return UNKNOWN
        self._depth += 1
        names = [argument.name for argument in method.arguments]
        scope = _Scope(None, self._copied)
        for name, value in zip(names, values, strict=False):
            scope.set(name, value)
        scope.set(method.receiver, receiver)
        try:
            if method not in self._blocks:
                self._blocks[method] = method.block()
            self._run(self._blocks[method], scope)
            result = scope.get(_RESULT)
        except (MalformedModelError, LimitExceededError, RecursionError):
            result = UNKNOWN  # a body that cannot be followed says nothing; the signature stands without it
        self._depth -= 1
        return result

    def _run(self, block: Block, scope: _Scope) -> None:
        for part in block.parts:
            self._steps -= 1
            if isinstance(part, Line):
                self._run_line(part, scope)
            elif isinstance(part, Branch):
                self._choose(part, scope)
            elif isinstance(part, Loop):
                _forget(part.body, scope)

    def _run_line(self, line: Line, scope: _Scope) -> None:
        if not self._afford(len(line.text)):
            _forget(line, scope)
            return
        try:
            statements = line.parsed()
        except LimitExceededError:
            _forget(line, scope)
            return
        for statement in statements:
            if isinstance(statement, ast.Assign):
                self._assign(statement.targets[0], self._evaluate(statement.value, scope), scope)
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                self._assign(statement.target, self._evaluate(statement.value, scope), scope)
            elif isinstance(statement, ast.Return) and statement.value is not None:
                scope.set(_RESULT, self._evaluate(statement.value, scope))
            elif isinstance(statement, ast.Expr):
                self._evaluate(statement.value, scope)

    def _choose(self, branch: Branch, scope: _Scope) -> None:
        """Follow the branch whose condition holds, or that does not raise; else keep what both agree on."""
        if not self._afford(len(branch.text)):
            _forget(branch, scope)
            return
        condition = self._evaluate(branch.condition(), scope)
        chosen: Block | None = None
        if isinstance(condition, bool):
            chosen = branch.then if condition else branch.otherwise
        elif branch.then.raises or branch.otherwise.raises:
            chosen = branch.otherwise if branch.then.raises else branch.then
        if chosen is not None:
            self._run(chosen, scope)
            return
        # What a branch demands of its operands holds there only, so that it runs on copies.
        scopes = [_Scope(scope, self._copied), _Scope(scope, self._copied)]
        self._run(branch.then, scopes[0])
        self._run(branch.otherwise, scopes[1])
        for name in branch.changed:
            spoil(scope.get(name))
            scope.set(name, self._joined(scopes[0].get(name), scopes[1].get(name)))

    def _spend(self, steps: int) -> bool:
        """Pay for that many steps; False where nothing is left."""
        self._steps -= steps
        return self._steps >= 0

    def _copied(self, value: Flowing) -> Flowing:
        if isinstance(value, Known):
            return value.apart()
        if not isinstance(value, list | tuple | dict):
            return value
        if not self._spend(1 + len(value)):
            return UNKNOWN
        if isinstance(value, dict):
            return {name: self._copied(one) for name, one in value.items()}
        return type(value)(map(self._copied, value))

    def _joined(self, a: Flowing, b: Flowing) -> Flowing:
        if isinstance(a, tuple | list) and type(a) is type(b) and len(a) == len(b) and self._spend(1 + len(a)):
            return type(a)(map(self._joined, a, b))
        return join(a, b)

    def _afford(self, length: int) -> bool:
        """Pay for parsing a line of so many characters; False where nothing is left."""
        self._steps -= 4 + length // 32
        return self._steps >= 0

    def _assign(self, target: ast.expr, value: Flowing, scope: _Scope) -> None:
        if isinstance(target, ast.Name):
            scope.set(target.id, value)
        elif isinstance(target, ast.Tuple):
            fits = isinstance(value, tuple | list) and len(value) == len(target.elts)
            for position, one in enumerate(target.elts):
                self._assign(one, value[position] if fits else UNKNOWN, scope)

    def _evaluate(self, node: ast.expr, scope: _Scope) -> Flowing:
        self._steps -= 1
        if self._steps < 0:
            return UNKNOWN
        if isinstance(node, ast.Name):
            return scope.get(node.id)
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Tuple):
            return tuple(self._evaluate(one, scope) for one in node.elts)
        if isinstance(node, ast.List):
            return [self._evaluate(one, scope) for one in node.elts]
        if isinstance(node, ast.Dict):
            return self._dictionary(node, scope)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self._evaluate(node.operand, scope)
            return -value if isinstance(value, int | float) else UNKNOWN
        if isinstance(node, ast.Subscript):
            return _item(self._evaluate(node.value, scope), self._evaluate(node.slice, scope))
        if isinstance(node, ast.Attribute):
            return self._attribute(node, scope)
        return self._call(node, scope) if isinstance(node, ast.Call) else UNKNOWN

    def _dictionary(self, node: ast.Dict, scope: _Scope) -> Flowing:
        names = [self._evaluate(one, scope) if one is not None else UNKNOWN for one in node.keys]
        if not all(isinstance(name, str | int) for name in names):
            return UNKNOWN
        return dict(zip(names, (self._evaluate(one, scope) for one in node.values), strict=True))

    def _attribute(self, node: ast.Attribute, scope: _Scope) -> Flowing:
        owner = self._evaluate(node.value, scope)
        if isinstance(owner, Module):
            held = owner.attribute(node.attr)
            return self._declared(owner, node.attr) if held is UNKNOWN else held
        name = _dotted(node)
        number = name.removeprefix("CONSTANTS.c")
        if number.isascii() and number.isdecimal() and len(number) < 7:
            return _flowing(self._constants[int(number)]) if int(number) < len(self._constants) else UNKNOWN
        return _Function(name) if name.startswith("__torch__.") else UNKNOWN

    def _declared(self, module: Module, name: str) -> Flowing:
        """Return the value of an attribute that the class declares as ``Final``, which no state holds."""
        code, own = self._find(module.kind), module.kind.rpartition(".")[2]
        text = code.constant(own, name) if code is not None and own in code else None
        if text is None:
            return UNKNOWN
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            return UNKNOWN
        return value if value is None or isinstance(value, bool | int | float | str) else UNKNOWN

    def _call(self, node: ast.Call, scope: _Scope) -> Flowing:
        function = node.func
        if isinstance(function, ast.Attribute):
            owner = self._evaluate(function.value, scope)
            if isinstance(owner, Module):
                return self._call_method(owner, function.attr, [self._evaluate(one, scope) for one in node.args])
        name = _dotted(function)
        own = scope.get(name) if "." not in name else self._evaluate(function, scope)
        values = [self._evaluate(one, scope) for one in node.args]
        if not self._spend(sum(len(value) for value in values if isinstance(value, list | tuple))):
            return UNKNOWN
        if isinstance(own, _Function):
            return self._call_function(own.name, values)
        if name in ("annotate", "unchecked_cast", "uninitialized"):
            return self._cast(name, node, values)
        if name == "getattr" and len(values) == 2 and isinstance(values[0], Module):
            return values[0].attribute(str(values[1]))
        keywords = {one.arg: self._evaluate(one.value, scope) for one in node.keywords if one.arg}
        result = call_operator(name, values, keywords)
        is_paid = self._spend(len(result) if isinstance(result, list | tuple) else 0)
        return result if is_paid else UNKNOWN

    def _cast(self, name: str, node: ast.Call, values: list[Flowing]) -> Flowing:
        if len(values) != 2:
            return UNKNOWN
        is_tensor = isinstance(node.args[0], ast.Name) and node.args[0].id == "Tensor"
        # What was an optional argument turns out to be given.
        return Known(None, None) if name == "unchecked_cast" and is_tensor and values[1] is UNKNOWN else values[1]

    def _call_method(self, module: Module, name: str, values: list[Flowing]) -> Flowing:
        code = self._find(module.kind)
        own = module.kind.rpartition(".")[2]
        method = code.method(own, name) if code is not None and own in code else None
        if own in BLOCKS and name.startswith("forward") and ".torch.nn.modules." in module.kind:
            return self._call_block(own, method, values)
        result = self._follow(method, module, values) if method is not None else UNKNOWN
        if result is UNKNOWN and name.startswith("forward") and ".torch.nn.modules." in module.kind:
            # Scripted modules of PyTorch's own branch on their configuration; their class tells what they do.
            parameters = {key: module.attribute(key) for key in ("weight", "bias")}
            plain = bool(values) and all(value is None for value in values[1:])
            return call_rule(CLASSES, own, values[:1], parameters) if plain else UNKNOWN
        return result

    def _call_block(self, own: str, method: Method | None, values: list[Flowing]) -> Flowing:
        result = call_rule(BLOCKS, own, values, {})
        # A traced module has the results only that were used.
        is_single = method is not None and method.result is not None and method.result.name == "Tensor"
        return result[0] if is_single and isinstance(result, tuple) else result

    def _call_function(self, name: str, values: list[Flowing]) -> Flowing:
        own = name.rpartition(".")[2]
        is_functional = name.startswith("__torch__.torch.nn.functional.")
        result = call_rule(FUNCTIONS, own, values, {}) if is_functional else UNKNOWN
        if result is not UNKNOWN:
            return result
        code = self._find(name)
        if code is not None and own in code and code.base(own) == "NamedTuple":
            return tuple(values)
        method = code.function(own) if code is not None else None
        return self._follow_function(method, values) if method is not None else UNKNOWN

    def _follow_function(self, method: Method, values: list[Flowing]) -> Flowing:
        # A function has no self: its first parameter was kept apart as the receiver.
        return self._follow(method, values[0], values[1:]) if values else UNKNOWN


def _forget(part: Line | Branch | Block, scope: _Scope) -> None:
    for name in part.changed:
        spoil(scope.get(name))
        scope.set(name, UNKNOWN)


def _item(value: Flowing, index: Flowing) -> Flowing:
    if isinstance(value, dict) and isinstance(index, str | int):
        return value.get(index, UNKNOWN)
    if isinstance(value, list | tuple) and isinstance(index, int) and -len(value) <= index < len(value):
        return value[index]
    return UNKNOWN


def _dotted(node: ast.expr) -> str:
    try:
        return dotted(node)
    except MalformedModelError:
        return ""
