"""Arguments as the templates write them, ``--NAME=VALUE``: checked against the contract, then read as what they mean.

A value is a value whatever it looks like: nothing in it is an option, a placeholder or a script. What does not belong
here: what a verb does with it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from klever.api.task.contract import VERBS, Input
from klever.steps.errors import PermanentError, at_stage

if TYPE_CHECKING:
    from klever.steps.converters.interface import Options
    from klever.steps.model.certificate import Level
    from klever.steps.model.signature import Signature
    from klever.steps.oci.reference import Reference

#: The most that one value may have, in characters: a list of a thousand references has a tenth.
_MAX_CHARS: Final = 1 << 20
_MAX_SEED: Final = 2**32 - 1
#: Inputs of a model, and dimensions of one.
_MAX_SHAPES: Final = 1000
_MAX_RANK: Final = 64
_MAX_SIZE: Final = 10**9
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
#: What every verb takes.
DIRECTORY: Final = Input("directory", "the directory to write the outputs to")
_Choice = TypeVar("_Choice")


class UsageError(PermanentError):
    """A command line that no template of ours writes, or a value that breaks its grammar."""

    usual_step = "see klever-task --help"


class Inputs:
    """The values of one call."""

    def __init__(self, verb: str, values: Mapping[str, Sequence[str]]) -> None:
        self.verb = verb
        self._values = values

    @classmethod
    def parse(cls, verb: str, arguments: Sequence[str]) -> "Inputs":
        """Parse ``--NAME=VALUE`` arguments; raises `UsageError`."""
        known = {each.name: each for each in (*VERBS[verb].inputs, DIRECTORY)}
        values: dict[str, list[str]] = {}
        for argument in arguments:
            name, equals, value = argument.removeprefix("--").partition("=")
            if not argument.startswith("--") or not equals or name not in known:
                raise UsageError(f"got {_shown(argument)}, expected one of {', '.join(f'--{n}=' for n in known)}")
            if len(value) > _MAX_CHARS:
                raise UsageError(f"the value of --{name} is longer than {_MAX_CHARS} characters")
            _check_text(name, value)
            if not value:
                continue
            if name in values and not known[name].repeated:
                raise UsageError(f"--{name} is given twice")
            values.setdefault(name, []).append(value)
        for name, each in known.items():
            if each.required and name not in values:
                raise UsageError(f"{verb} needs --{name}: {each.about}", next_step=f"give a value for {name}")
        return cls(verb, values)

    def text(self, name: str) -> str:
        """Return a value as it is, empty where it is not given."""
        return next(iter(self._values.get(name, ())), "")

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the values of an argument that may be repeated."""
        return tuple(self._values.get(name, ()))

    def flag(self, name: str) -> bool:
        """Return a boolean: ``true`` or ``false``, which is the default."""
        return self._chosen(name, {"": False, "true": True, "false": False})

    def reference(self, name: str) -> "Reference":
        """Return a reference; raises `InvalidReferenceError`."""
        from klever.api.task.places import parse_place

        return parse_place(self.text(name))

    def format(self, name: str) -> str | None:
        """Return the id of a format, None where it is not given; raises `MetadataError` for an unknown one."""
        from klever.steps.formats.table import load_format

        with at_stage(self.verb):
            return load_format(self.text(name)).id if self.text(name) else None

    def signature(self) -> "Signature | None":
        """Return the inputs and outputs that are told, None where neither is; raises `MetadataError`."""
        from klever.steps.model.signature import Signature, parse_tensors

        with at_stage(self.verb):
            told = {name: parse_tensors(self.text(name), name) for name in ("inputs", "outputs") if self.text(name)}
        return Signature(**told) if told else None

    def level(self) -> "Level":
        """Return the level of proof that is required, ``executed`` by default."""
        from klever.steps.model.certificate import Level

        return self._chosen("require", {"": Level.EXECUTED, **{level.value: level for level in Level}})

    def seed(self) -> int:
        """Return the seed of a proof, 0 by default."""
        return self.number("seed", 0, 0, _MAX_SEED)

    def options(self) -> "Options":
        """Return the options of a conversion."""
        from klever.steps.converters.interface import DEFAULT_OPSET, MAX_OPSET, MIN_OPSET, Options

        batch = -1 if self.text("batch") == "dynamic" else self.number("batch", 0, 1, _MAX_SIZE)
        return Options(
            opset=self.number("opset", DEFAULT_OPSET, MIN_OPSET, MAX_OPSET),
            batch=batch or None,
            shapes=self._shapes(),
            dtype=self._chosen("dtype", {"": None, "float16": "float16"}),
        )

    def json(self, name: str) -> Any:
        """Return a JSON value, strictly parsed; raises `UsageError`."""
        from klever.steps.model.strict import parse_json

        try:
            return parse_json(self.text(name).encode())
        except ValueError as error:
            raise self._error(name, f"which {error}", "give JSON") from None

    def error(self, name: str, expected: str) -> UsageError:
        """Return the error for a value that is not what it has to be."""
        return self._error(name, f"expected {expected}", f"correct the value of {name}")

    def _error(self, name: str, rest: str, next_step: str) -> UsageError:
        return UsageError(f"got {_shown(self.text(name))} for {name}, {rest}", stage=self.verb, next_step=next_step)

    def _chosen(self, name: str, choices: Mapping[str, _Choice]) -> _Choice:
        value = self.text(name)
        if value not in choices:
            raise self.error(name, " or ".join(filter(None, choices)))
        return choices[value]

    def number(self, name: str, usual: int, least: int, most: int) -> int:
        """Return a whole number within bounds, ``usual`` where it is not given."""
        value = self.text(name)
        if not value:
            return usual
        if not _NUMBER.fullmatch(value) or not least <= int(value) <= most:
            raise self.error(name, f"a number from {least} to {most}")
        return int(value)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        if not self.text("shapes"):
            return {}
        document = self.json("shapes")
        if not isinstance(document, dict) or len(document) > _MAX_SHAPES:
            raise self.error("shapes", "a JSON object of input name to list of sizes")
        for sizes in document.values():
            whole = isinstance(sizes, list) and all(type(size) is int for size in sizes)
            if not whole or len(sizes) > _MAX_RANK or not all(-1 <= size <= _MAX_SIZE for size in sizes):
                raise self.error("shapes", "a list of sizes for each input, -1 for a dynamic one")
        return {name: tuple(sizes) for name, sizes in document.items()}


def _check_text(name: str, value: str) -> None:
    """Refuse bytes that are not UTF-8: Python hands them on as halves of surrogate pairs, which nothing can store."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"the value of --{name} is not UTF-8 text") from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 140 else f"{text[:140]}...")
