"""The signature of a TorchScript archive: from its code, its example inputs and the shapes of its weights.

Arguments and results are named ``input__0``, ``output__0``, ... as Triton names them; the argument's own name goes
to ``argumentName``, a dictionary's key or a named tuple's field to ``resultName``, and a type other than Tensor to
``torchType``. What does not belong here: the grammar of the code (`code`), the effect of its operators (`flow`).
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from klever.steps.encodings import magic
from klever.steps.encodings.pickle import Global, Object, Pickle, Value, read_pickle
from klever.steps.encodings.stream import Stream
from klever.steps.errors import LimitExceededError, MalformedModelError, UnsafeModelError
from klever.steps.files import BytesSource
from klever.steps.formats.interface import Reading
from klever.steps.formats.torchscript.code import Argument, Code, Method, Type, unmangled
from klever.steps.formats.torchscript.flow import Flow, Module
from klever.steps.formats.torchscript.values import Known
from klever.steps.frameworks.callables import Risk, describe, judge
from klever.steps.frameworks.pytorch import Container, TensorType, open_container, recognise, tensor_type, untagged
from klever.steps.model.signature import Signature, Tensor

if TYPE_CHECKING:
    from klever.steps.encodings.zip import ZipArchive
    from klever.steps.files import Source
    from klever.steps.model.shapes import Shape

#: The pickle of a large module tree has a few MB, a code file less.
MAX_PICKLE_BYTES: Final = 64 << 20
MAX_CODE_BYTES: Final = 4 << 20
#: All code files together.
MAX_ALL_CODE_BYTES: Final = 64 << 20
#: Results that one method may flatten to.
MAX_RESULTS: Final = 1000

_SCRIPT_IT: Final = "load it in PyTorch, then save what torch.jit.script or torch.jit.trace returns by torch.jit.save"
_SCALARS: Final = {"int": "int64", "float": "float64", "bool": "bool", "str": "object", "number": None}


def read_archive(source: "Source", author: Signature | None) -> Reading:
    """Read the archive's signature.

    ``author`` may give shapes and types of inputs, from which those of the outputs follow. Raises
    `UnsafeModelError` for a pickle that would run code, `MalformedModelError` for what is no TorchScript.
    """
    archive, prefix = _open(source)
    if f"{prefix}model.json" in archive.names and f"{prefix}data.pkl" not in archive.names:
        return _read_json(archive, prefix)
    pickle = _read_pickle(archive, f"{prefix}data.pkl")
    _refuse_dangerous(pickle)
    if not isinstance(pickle.root, Object) or not isinstance(pickle.root.function, Global):
        raise MalformedModelError("data.pkl in the archive holds no module")
    reader = _Reader(archive, prefix, pickle.root)
    return reader.read(_examples(archive, prefix), author)


def read_code(source: "Source") -> Iterator[tuple[str, str]]:
    """Yield the qualified name of each code file in an archive, and its text.

    Raises what `read_archive` raises for what is no TorchScript, or for a pickle that would run code.
    """
    archive, prefix = _open(source)
    if f"{prefix}data.pkl" in archive.names:
        _refuse_dangerous(_read_pickle(archive, f"{prefix}data.pkl"))
    folder = f"{prefix}code/"
    left = MAX_ALL_CODE_BYTES
    for path in archive.names:
        if path.startswith(folder) and path.endswith(".py"):
            data = archive.read(path, MAX_CODE_BYTES)
            left -= len(data)
            if left < 0:
                raise LimitExceededError(f"the code of the archive takes more than {MAX_ALL_CODE_BYTES >> 20} MiB")
            text = data.decode("utf-8", "backslashreplace")
            yield path[len(folder) : -len(".py")].replace("/", "."), text


def _open(source: "Source") -> "tuple[ZipArchive, str]":
    """Open the archive; say what the file is where it is another of PyTorch's."""
    head = source.read_at(0, len(magic.LEGACY_TORCH))
    if head.startswith(magic.PICKLE):
        _refuse(_read_legacy(source, head), "a pickle, as torch.save wrote before PyTorch 1.6")
    if not head.startswith(magic.ZIP):
        raise MalformedModelError("the file is no ZIP archive, as every TorchScript file is")
    archive = open_container(source)
    found = recognise(archive.names)
    if found is None:
        raise MalformedModelError("the archive holds no code, so it is no TorchScript", next_step=_SCRIPT_IT)
    kind, prefix = found
    if kind is Container.PICKLE:
        _refuse(_read_pickle(archive, f"{prefix}data.pkl"), kind.value)
    if kind is not Container.SCRIPT:
        raise MalformedModelError(f"the file is {kind.value}, not TorchScript", next_step=_SCRIPT_IT)
    return archive, prefix


def _read_legacy(source: "Source", head: bytes) -> Pickle:
    """Read the value's pickle, before which three others stand: magic number, protocol version, system."""
    stream = Stream(source)
    pickle = read_pickle(stream)
    for _ in range(3 if head.startswith(magic.LEGACY_TORCH) else 0):
        pickle = read_pickle(stream)
    return pickle


def _refuse_dangerous(pickle: Pickle) -> None:
    dangerous = [one for one in pickle.globals if judge(one) is Risk.DANGEROUS]
    if dangerous:
        raise UnsafeModelError(
            f"the file is a pickle that would call {describe(dangerous)} when loaded; it was not executed",
            next_step="do not load it, and ask whoever made it",
        )


def _refuse(pickle: Pickle, kind: str) -> None:
    """Raise for a pickle in place of TorchScript: unsafe unless all it names are known to build values only."""
    _refuse_dangerous(pickle)
    root = pickle.root
    is_weights = isinstance(root, dict) or (
        isinstance(root, Object) and isinstance(root.function, Global) and root.function.name == "OrderedDict"
    )
    what = "weights without a network (a state_dict)" if is_weights else "a pickled module, whose code is elsewhere"
    unknown = [one for one in pickle.globals if judge(one) is Risk.UNKNOWN]
    if unknown:
        raise UnsafeModelError(
            f"the file is {kind}, not TorchScript; loading it would import {describe(unknown)}", next_step=_SCRIPT_IT
        )
    raise MalformedModelError(f"the file is {kind}, not TorchScript: {what}", next_step=_SCRIPT_IT)


def _read_pickle(archive: "ZipArchive", name: str) -> Pickle:
    return read_pickle(Stream(BytesSource(archive.read(name, MAX_PICKLE_BYTES))))


def _examples(archive: "ZipArchive", prefix: str) -> list[Value]:
    """Return the inputs with which ``forward`` was traced: ``traced_inputs.pkl``, since PyTorch 2.0."""
    if f"{prefix}traced_inputs.pkl" not in archive.names:
        return []
    root = untagged(_read_pickle(archive, f"{prefix}traced_inputs.pkl").root)
    values = untagged(root.get("forward")) if isinstance(root, dict) else None
    return list(values) if isinstance(values, list | tuple) else []


def _read_json(archive: "ZipArchive", prefix: str) -> Reading:
    """Read an archive of PyTorch 1.0 to 1.2: ``model.json`` names the main module's code file."""
    try:
        model = json.loads(archive.read(f"{prefix}model.json", MAX_CODE_BYTES))
        path = f"{prefix}{model['mainModule']['torchscriptArena']['key']}"
    except (ValueError, KeyError, TypeError, RecursionError):
        raise MalformedModelError("model.json in the archive does not name the main module's code") from None
    code = Code(archive.read(path, MAX_CODE_BYTES).decode("utf-8", "backslashreplace"))
    forward = code.function("forward")
    if forward is None:
        return Reading(Signature(), notes=("no signature was read: the main module has no forward",))
    inputs = tuple(_input(position, argument, None) for position, argument in enumerate(forward.arguments))
    results = forward.result or Type("Tensor")
    kinds = results.arguments if results.name == "Tuple" else (results,)
    outputs = tuple(_tensor(f"output__{position}", kind, None, {}) for position, kind in enumerate(kinds))
    return Reading(Signature(inputs=inputs, outputs=outputs))


class _Reader:
    """One archive: its code files as they are needed, and the tree of its modules."""

    def __init__(self, archive: "ZipArchive", prefix: str, root: Object) -> None:
        self.archive = archive
        self.prefix = prefix
        self.root = root
        self.notes: list[str] = []
        self._files: dict[str, Code | None] = {}

    def read(self, examples: list[Value], author: Signature | None) -> Reading:
        name = str(self.root.function)
        layers = dict(sorted(_count_layers(self.root, self._is_module).items()))
        found = self.find(name)
        forward = found.method(name.rpartition(".")[2], "forward") if found is not None else None
        if forward is None:
            reason = "its code is missing" if found is None else "it has no forward"
            self.notes.append(f"no signature was read from {unmangled(name)}: {reason}")
            return Reading(Signature(layers=layers or None), notes=tuple(self.notes))
        inputs = self._inputs(forward, examples)
        module, constants = Module(self.root), self._constants()
        known = [_known(tensor) for tensor in inputs]
        result = Flow(self.find, constants).run(module, forward, known)
        inputs = [_refined(tensor, one) for tensor, one in zip(inputs, known, strict=True)]
        self.notes += [
            f"{tensor.name} has {one.last} as its last dimension, before which there may be any number of others"
            for tensor, one in zip(inputs, known, strict=True)
            if one.shape is None and one.last is not None
        ]
        wrote = author.inputs if author is not None else None
        if wrote and len(wrote) == len(inputs):
            by_name = {tensor.name: tensor for tensor in wrote}
            filled = [_filled(one, by_name.get(one.name, wrote[place])) for place, one in enumerate(inputs)]
            result = Flow(self.find, constants).run(module, forward, [_known(tensor) for tensor in filled])
        outputs = self._outputs(forward, result)
        return Reading(
            Signature(inputs=tuple(inputs), outputs=tuple(outputs), layers=layers or None),
            notes=tuple(self.notes),
        )

    def _is_module(self, value: Object) -> bool:
        """Tell a module, which has ``training`` unless it is frozen, from an instance of a script class."""
        if isinstance(value.state, dict) and "training" in value.state:
            return True
        name = str(value.function)
        code = self.find(name)
        own = name.rpartition(".")[2]
        return code is None or own not in code or code.base(own) == "Module"

    def _constants(self) -> list[Value]:
        """Return the tensors that the code names ``CONSTANTS.c0``, ...: weights of a frozen module."""
        name = f"{self.prefix}constants.pkl"
        root = _read_pickle(self.archive, name).root if name in self.archive.names else ()
        return list(root) if isinstance(root, tuple | list) else []

    def find(self, name: str) -> Code | None:
        """Return the code file that defines the class or function of that qualified name."""
        module, _, own = name.rpartition(".")
        path = f"{self.prefix}code/{module.replace('.', '/')}.py"
        if path not in self._files:
            self._files[path] = None
            if path in self.archive.names:
                text = self.archive.read(path, MAX_CODE_BYTES).decode("utf-8", "backslashreplace")
                self._files[path] = Code(text)
        code = self._files[path]
        return code if code is not None and (own in code or code.function(own)) else None

    def _inputs(self, forward: Method, examples: list[Value]) -> list[Tensor]:
        inputs = []
        for position, argument in enumerate(forward.arguments):
            example = tensor_type(untagged(examples[position])) if position < len(examples) else None
            inputs.append(_input(position, argument, example))
        if examples:
            self.notes.append("shapes of inputs are those of the example inputs with which the model was traced")
        return inputs

    def _outputs(self, forward: Method, result: Value) -> list[Tensor]:
        keys = forward.returned_keys()
        outputs: list[Tensor] = []
        for name, kind, value in self._flatten(forward.result or Type("Tensor"), result, keys, 0):
            if len(outputs) >= MAX_RESULTS:
                raise MalformedModelError(f"forward returns more than {MAX_RESULTS} results")
            outputs.append(_tensor(f"output__{len(outputs)}", kind, value, {"resultName": name}))
        return outputs

    def _flatten(
        self, kind: Type, value: Value, keys: list[str | None] | None, depth: int
    ) -> Iterator[tuple[str | None, Type, Value]]:
        """Yield name, type and what `flow` knows of each tensor of a result, in order."""
        if kind.name == "Tuple" and depth < 16:
            values = value if isinstance(value, tuple) and len(value) == len(kind.arguments) else ()
            for position, inner in enumerate(kind.arguments):
                yield from self._flatten(inner, values[position] if values else None, None, depth + 1)
        elif kind.name == "Dict" and keys is None and isinstance(value, dict) and _are_texts(value):
            for name, known in value.items():
                yield name, kind.arguments[-1], known
        elif kind.name in ("Dict", "List") and keys is not None and len(kind.arguments) > 0:
            by_key = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
            for position, name in enumerate(keys):
                yield name, kind.arguments[-1], by_key.get(name if kind.name == "Dict" else position)
        elif (fields := self._fields(kind)) is not None and depth < 16:
            values = value if isinstance(value, tuple) and len(value) == len(fields) else (None,) * len(fields)
            for (name, inner), field in zip(fields, values, strict=True):
                for below, one, known in self._flatten(inner, field, None, depth + 1):
                    yield below or name, one, known
        elif kind.name != "NoneType":
            yield None, kind, value

    def _fields(self, kind: Type) -> tuple[tuple[str, Type], ...] | None:
        """Return the fields of a named tuple."""
        code = self.find(kind.name) if kind.name.startswith("__torch__.") else None
        own = kind.name.rpartition(".")[2]
        return code.fields(own) if code is not None and own in code and code.base(own) == "NamedTuple" else None


def _input(position: int, argument: Argument, example: TensorType | None) -> Tensor:
    kind = argument.type
    optional = {"optional": True} if argument.default is not None or kind.name == "Optional" else {}
    if kind.name == "Optional" and kind.arguments:
        kind = kind.arguments[0]
    return _tensor(f"input__{position}", kind, example, {"argumentName": argument.name, **optional})


def _tensor(name: str, kind: Type, known: Value, facts: dict[str, Any]) -> Tensor:
    dtype: str | None = None
    shape: Shape = None
    if kind.name in _SCALARS:
        dtype, shape = _SCALARS[kind.name], ()
    elif kind.name == "Tensor" and isinstance(known, TensorType | Known):
        dtype, shape = known.dtype, known.shape
    if kind.name != "Tensor":
        facts["torchType"] = str(kind)
    extra = {key: value for key, value in facts.items() if value is not None}
    return Tensor(name=name, dtype=dtype, shape=shape, **extra)


def _count_layers(root: Object, is_module: Callable[[Object], bool]) -> Counter[str]:
    """Count the classes of the modules that hold no further ones, each module once however often it is shared."""
    layers: Counter[str] = Counter()
    seen = {id(root)}
    pending = [root]
    while pending:
        module = pending.pop()
        children = list(_submodules(module, is_module))
        if not children and module is not root:
            layers[unmangled(module.function.name)] += 1
        for child in children:
            if id(child) not in seen:
                seen.add(id(child))
                pending.append(child)
    return layers


def _submodules(module: Object, is_module: Callable[[Object], bool]) -> Iterator[Object]:
    values = module.state.values() if isinstance(module.state, dict) else ()
    for value in values:
        if isinstance(value, Object) and isinstance(value.function, Global):
            kind = str(value.function)
            # Bound C++ classes and packed weights are no modules of their own.
            is_other = kind.startswith("__torch__.torch.classes.") or kind.endswith("PackedParams")
            if kind.startswith("__torch__.") and not is_other and is_module(value):
                yield value


def _are_texts(value: dict[Value, Value]) -> bool:
    return bool(value) and len(value) <= MAX_RESULTS and all(isinstance(name, str) for name in value)


def _known(tensor: Tensor) -> Known:
    return Known(tensor.dtype, tensor.shape)


def _refined(tensor: Tensor, known: Known) -> Tensor:
    return tensor.model_copy(update={"dtype": known.dtype, "shape": known.shape})


def _filled(tensor: Tensor, wrote: Tensor) -> Tensor:
    """Fill from what the author wrote where the archive does not tell."""
    known = Known(tensor.dtype or wrote.dtype, tensor.shape)
    known.demand(wrote.shape)
    return _refined(tensor, known)
