"""What each verb of ``klever-task`` takes and gives: the contract with the templates that call it.

What does not belong here: how a verb does it, and anything that takes time to import.
"""

from types import MappingProxyType
from typing import Final, NamedTuple


class Input(NamedTuple):
    """One argument ``--NAME=VALUE``; an empty value is one that is not given."""

    name: str
    about: str
    required: bool = False
    repeated: bool = False


class Verb(NamedTuple):
    """What a verb does, what it takes, and the files that it writes."""

    about: str
    inputs: tuple[Input, ...]
    #: Name to what it is; each is the file of that name, empty where there is nothing.
    outputs: MappingProxyType[str, str]


_MODEL: Final = Input("model", "the reference of the model", required=True)
_FORMAT: Final = Input("format", "the format, where content and names do not settle it")
_FROM: Final = Input("from", "the format that the model has to have; any by default")
_CONVERSION: Final = (
    Input("opset", "the version of ONNX's operators"),
    Input("batch", "the first size of every input: a number or 'dynamic'"),
    Input("shapes", "a JSON object of input name to list of sizes, -1 for a dynamic one"),
    Input("dtype", "float16 to compute in half precision"),
    Input("require", "the proof without which nothing is kept: none, executed or compared"),
    Input("seed", "what the inputs of the proof are made from"),
)
_RESULT: Final = {
    "reference": "where the artifact is, pinned to its digest",
    "digest": "the digest of its manifest",
    "format": "its format",
    "signature": "its signature in one line",
}
_NOTE: Final = {"note": "what a person should know, in one line"}

#: Verb to its contract, in the order of the help text; the module of that name in ``verbs`` does the work.
VERBS: Final = MappingProxyType(
    {
        "extract": Verb(
            "Read the signature from the layer and write it into the config.",
            (
                _MODEL,
                _FORMAT,
                Input("as", "where the result goes; by default to the model's own tag"),
                Input("inputs", "a JSON list of what the author says of the inputs, as ormbfile.yaml spells them"),
                Input("outputs", "the same of the outputs"),
                Input("repack", "true to make a new layer of a foreign one"),
                Input("all_tags", "true to move every tag of the repository that points at what was read"),
            ),
            MappingProxyType(
                {
                    **_RESULT,
                    "changed": "true where it is another manifest than the one that was read",
                    "moved": "true where the result has the tag that was meant",
                    **_NOTE,
                }
            ),
        ),
        "plan": Verb(
            "Say how a conversion would be done, and what it needs.",
            (
                _MODEL,
                Input("to", "the format to convert to", required=True),
                _FROM,
                Input("as", "where the result goes; by default beside the source, with the format in its tag"),
                *_CONVERSION,
                Input("image", "ENVIRONMENT=IMAGE: which image has which environment", repeated=True),
            ),
            MappingProxyType(
                {
                    "model": "the model, pinned to its digest",
                    "as": "where the result goes",
                    "image": "the image that has what the conversion needs",
                    "memory": "the memory that it needs, a Kubernetes quantity",
                    "storage": "the temporary files that it needs, a Kubernetes quantity",
                    "key": "64 hex digits that name the result",
                    "path": "the chain of converters, in one line",
                }
            ),
        ),
        "convert": Verb(
            "Convert a model, prove the result and publish it.",
            (
                _MODEL,
                Input("to", "the format to convert to", required=True),
                _FROM,
                Input("as", "where the result goes", required=True),
                *_CONVERSION,
            ),
            MappingProxyType(
                {
                    **_RESULT,
                    "level": "the level of its proof",
                    "found": "true where it was converted before",
                    **_NOTE,
                }
            ),
        ),
        "publish": Verb(
            "Take a model from a URL or a mounted directory and publish it.",
            (
                Input("source", "an http or https URL, or an absolute path", required=True),
                Input("as", "the reference to publish under", required=True),
                _FORMAT,
                Input("allow", "a URL prefix or a directory that sources may come from", repeated=True),
                Input("limit", "the most bytes that a download may have"),
            ),
            MappingProxyType({**_RESULT, **_NOTE}),
        ),
        "targets": Verb(
            "List the conversions of a release.",
            (
                _MODEL,
                Input("formats", "the formats to convert to, a JSON list or separated by commas", required=True),
                Input("as", "where the results go: {format} stands for the format, {tag} for the model's tag"),
            ),
            MappingProxyType(
                {"targets": 'a JSON list of {"to": FORMAT, "as": REFERENCE}', "model": "the model, pinned"}
            ),
        ),
        "gate": Verb(
            "Hold the certificates of converted models against what is required.",
            (
                Input("results", "a JSON list of references, or of objects that have one", required=True),
                Input("require", "the level of proof that each has to have: none, executed or compared"),
            ),
            MappingProxyType({"report": "a JSON list of what each certificate says"}),
        ),
    }
)
