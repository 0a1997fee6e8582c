"""Argo's expressions that the templates need: references cut to legal labels, names of nodes and of locks.

Each function takes an expression that gives text and returns one that gives text; `placed` puts one into a field.
They use ``sprig.regexReplaceAll``, ``sprig.trunc``, ``sprig.sha256sum``, ``toJson``, ``contains`` and ``? :`` and
nothing else, all of which Argo 3.6 has. Patterns are without backslashes, which JSON and the expression's own strings
would each take for theirs. What does not belong here: fields of a template.
"""

from collections.abc import Iterable
from typing import Final

#: Longest value of a label, and longest display name (``displayNameRegex`` in Argo's operator.go).
MAX_LENGTH: Final = 63


def placed(expression: str) -> str:
    """Return what a field holds to have the expression's value."""
    return "{{=" + expression + "}}"


def quoted(text: str) -> str:
    """Return text as a literal of the expression language."""
    if set(text) & set("\\'\n{}"):
        raise ValueError(f"{text!r} has no plain literal")
    return f"'{text}'"


def given(name: str) -> str:
    """Return the template's input parameter ``name``."""
    return f"inputs.parameters.{name}"


def first_given(name: str, other: str) -> str:
    """Return the input parameter ``name``, or ``other`` where that one is empty."""
    return f"({given(name)} != '' ? {given(name)} : {given(other)})"


def argument(name: str) -> str:
    """Return the workflow's parameter ``name``."""
    return f"workflow.parameters.{name}"


def _replaced(text: str, pattern: str, by: str) -> str:
    return f"sprig.regexReplaceAll({quoted(pattern)}, {text}, {_literal(by)})"


def _literal(text: str) -> str:
    # ${1} is a group in the replacement of a Go regular expression; closing braces alone end no placeholder.
    return f"'{text}'"


def _legal(text: str, letters: str) -> str:
    """Keep what ``letters`` has, within the length, beginning and ending with a letter or digit; may become empty."""
    short = f"sprig.trunc({MAX_LENGTH}, {_replaced(text, f'[^{letters}]+', '-')})"
    return _replaced(short, "^[^A-Za-z0-9]+|[^A-Za-z0-9]+$", "")


def label(text: str) -> str:
    """Return what is legal as a label's value."""
    return _legal(text, "A-Za-z0-9_.-")


def display_name(*parts: str) -> str:
    """Return what is legal as a node's display name; the first part is a literal of two letters or more."""
    return _legal(" + ' ' + ".join(parts), "A-Za-z0-9.-")


def _name(reference: str) -> str:
    """Cut a reference to its repository: no host (by Docker's rule), no tag, no digest."""
    unhosted = _replaced(_replaced(reference, "@[^/]*$", ""), "^([^/]*[.:A-Z][^/]*|localhost)/", "")
    return _replaced(unhosted, ":[^/]*$", "")


def project_of(reference: str) -> str:
    """Return the first part of the repository, where it has several."""
    return label(_replaced(_name(reference), "/(?s:.*)$|^[^/]*$", ""))


def model_of(reference: str) -> str:
    """Return the repository without its project."""
    return label(_replaced(_name(reference), "^[^/]*/", ""))


def lock_of(reference: str) -> str:
    """Return the name of the lock on the tag that a reference names: its digest cut off, ``latest`` where it has none.

    A lock's name may have slashes (``DecodeLockName`` in Argo's lock_name.go splits off two parts and no more).
    """
    tagged = _replaced(_replaced(reference, "@[^/]*$", ""), "(^|/)([^/:]+)$", "${1}${2}:latest")
    return "'klever/' + " + _replaced(tagged, "[^A-Za-z0-9._:/-]+", "-")


def is_pinned(reference: str) -> str:
    """Return whether a reference names a digest."""
    return f"{reference} contains '@sha256:'"


def digest_of(values: Iterable[str]) -> str:
    """Return the SHA-256 of several texts, which no other texts share."""
    return f"sprig.sha256sum(toJson([{', '.join(values)}]))"


def result_key(version: str, reference: str, values: Iterable[str]) -> str:
    """Return what names a step's result: the version of the step, and all that it is given.

    A tag names now this and now that, so that without a digest the key is that of this one node. It must not be a key
    that somebody gives, as who gives one could be told, or tell others, the result of something else; for the same
    reason, and as the controller keeps the results of all namespaces together, a namespace has its own.
    """
    once = f"({is_pinned(reference)} ? '' : workflow.uid + node.name)"
    return digest_of([quoted(version), "workflow.namespace", *values, once])


def quantity(text: str) -> str:
    """Return what can be a quantity of Kubernetes and nothing that could end the JSON string around it."""
    return _replaced(text, "[^0-9A-Za-z.]+", "")
