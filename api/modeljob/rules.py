"""What the API server refuses, each with a sentence that says what to write instead.

Rules in the Common Expression Language, by the place in a ModelJob that they are about. A manifest that an earlier
version took has to pass them, so what such a one can hold although it cannot be run is left to ``request``. What does
not belong here: types and sizes, which the model has; the sizes also bound what an expression may cost (Kubernetes'
documentation, "Validation rules").
"""

from types import MappingProxyType
from typing import Final, NamedTuple

from klever.steps.formats.table import MODULES

# The grammar of `klever.steps.oci.reference`, in RE2. A port above 65535 and a name of more than 255 characters pass;
# `request` tells of them.
_COMPONENT: Final = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"
_HOST_LABEL: Final = "[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?"
_HOST: Final = f"({_HOST_LABEL}(\\.{_HOST_LABEL})*|\\[[a-fA-F0-9:]+\\])(:[0-9]{{1,5}})?"
_TAG: Final = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST: Final = "(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})"
_TAGGED: Final = f"({_HOST}/)?{_COMPONENT}(/{_COMPONENT})*(:{_TAG})?"
_OBJECT: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_SERVICE: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"


class Rule(NamedTuple):
    """An expression that has to be true of ``self``, and what is said where it is not."""

    rule: str
    message: str
    #: The field that it is about, where that is not ``self``.
    field: str = ""


def _matches(pattern: str) -> str:
    # A raw string of the language, so that the pattern's backslashes are the pattern's own. Clients of earlier versions
    # write an absent field as an empty one.
    return f"self == '' || self.matches(r'^{pattern}$')"


_FORMAT: Final = Rule(
    "self.lowerAscii() in [" + ", ".join(f"'{name.lower()}'" for name in ("", *MODULES)) + "]",
    f"write one of {', '.join(MODULES)}",
)

#: Place in the document, with ``.`` between fields, to its rules.
RULES: Final = MappingProxyType(
    {
        "spec": (
            Rule(
                "[has(self.extraction), has(self.conversion), has(self.deployment), has(self.pipeline)]"
                ".filter(each, each).size() == 1",
                "write exactly one of extraction, conversion, deployment and pipeline, for example extraction: {}",
            ),
            Rule(
                "(has(self.model) && self.model != '') || has(self.pipeline)",
                "write the reference of the artifact to work on: HOST[:PORT]/PROJECT/NAME[:TAG][@DIGEST]",
                ".model",
            ),
        ),
        "spec.model": (
            Rule(
                _matches(f"{_TAGGED}(@{_DIGEST})?"),
                "write a reference: HOST[:PORT]/PROJECT/NAME[:TAG][@DIGEST], names in lower case",
            ),
        ),
        "spec.desiredTag": (
            Rule(
                _matches(_TAGGED),
                "write the reference to push the result as, HOST[:PORT]/PROJECT/NAME:TAG, names in lower case and"
                " without a digest",
            ),
        ),
        "spec.extraction.format": (_FORMAT,),
        "spec.conversion": (
            Rule(
                "has(self.mmdnn) && has(self.mmdnn.from) && has(self.mmdnn.to)"
                " && self.mmdnn.from != '' && self.mmdnn.to != ''",
                "write both formats: conversion: {mmdnn: {from: FORMAT, to: FORMAT}}",
            ),
        ),
        "spec.conversion.mmdnn": (
            Rule(
                "!has(self.from) || !has(self.to) || self.from == '' || self.from.lowerAscii() != self.to.lowerAscii()",
                "write two different formats: the model's as from, the result's as to",
            ),
        ),
        "spec.conversion.mmdnn.from": (_FORMAT,),
        "spec.conversion.mmdnn.to": (_FORMAT,),
        "spec.deployment.name": (
            Rule(
                _matches(_SERVICE),
                "write lower-case letters, digits and hyphens, beginning with a letter: it names a Service",
            ),
        ),
        "spec.pipeline.template": (
            Rule(
                f"self.matches(r'^{_OBJECT}$')",
                "write the name of a WorkflowTemplate of the job's namespace: lower-case letters, digits, hyphens and"
                " dots",
            ),
        ),
        "spec.pipeline.arguments": (
            Rule(
                # Two strings, so that nobody who makes a template of this file has them for a placeholder, either.
                "self.all(name, !self[name].contains('{' + '{'))",
                "write values without two opening braces in a row: Argo would take what follows for a placeholder",
            ),
        ),
    }
)
