"""The templates that most cases are made of, written so that a value never becomes a part of a program's text."""

from collections.abc import Mapping, Sequence
from typing import Any

from hera.workflows import Container, Parameter, Script, models

from .cases import IMAGE


def output(name: str, *, path: str | None = None, **source: Any) -> Parameter:
    """Describe an output parameter that is read from ``path``, or from what ``ValueFrom`` takes."""
    global_name = source.pop("global_name", None)
    return Parameter(name=name, global_name=global_name, value_from=models.ValueFrom(path=path, **source))


def shell(
    name: str,
    script: str,
    *,
    inputs: Mapping[str, Any] | Sequence[str] = (),
    outputs: Sequence[Parameter] = (),
    **more: Any,
) -> Container:
    """Make a template that runs ``script`` with its inputs, in their order, as ``$1``, ``$2``, ...; a mapping has defaults."""
    given = [
        Parameter(name=key, value=inputs[key]) if isinstance(inputs, Mapping) else Parameter(name=key) for key in inputs
    ]
    return Container(
        name=name,
        image=IMAGE,
        image_pull_policy="IfNotPresent",
        command=["sh", "-c", script, "sh"],
        args=[f"{{{{inputs.parameters.{key}}}}}" for key in inputs],
        inputs=given or None,
        outputs=list(outputs) or None,
        **more,
    )


def python(
    name: str, source: str, *, inputs: Sequence[str] = (), outputs: Sequence[Parameter] = (), **more: Any
) -> Script:
    """Make a script template of Python text, in which ``{{...}}`` is replaced as Argo replaces it."""
    return Script(
        name=name,
        image=IMAGE,
        image_pull_policy="IfNotPresent",
        command=["python3"],
        source=source,
        inputs=[Parameter(name=key) for key in inputs] or None,
        outputs=list(outputs) or None,
        **more,
    )


def say(name: str = "say", **more: Any) -> Container:
    """Make a template that prints its input ``text``."""
    return shell(name, 'printf "%s" "$1"', inputs={"text": "hello"}, **more)


def fail(name: str = "fail", *, code: int = 1, **more: Any) -> Container:
    """Make a template that ends with an exit code."""
    return shell(name, f"exit {code}", **more)


def write(name: str = "write", **more: Any) -> Container:
    """Make a template that writes its input ``text`` to the output parameter ``value``."""
    return shell(
        name,
        'printf "%s" "$1" > /tmp/value',
        inputs={"text": "written"},
        outputs=[output("value", path="/tmp/value")],
        **more,
    )
