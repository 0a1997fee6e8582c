"""Inputs and outputs of the templates: each is described once, as the same one means the same everywhere.

What does not belong here: which template has which.
"""

from dataclasses import dataclass
from typing import Final

from hera.workflows import Parameter
from hera.workflows.models import ValueFrom

from klever.steps.converters.interface import DEFAULT_OPSET, MAX_OPSET, MIN_OPSET
from klever.steps.converters.table import PAIRS
from klever.steps.formats.table import MODULES
from klever.steps.model.certificate import Level
from klever.workflows.templates.expressions import given

#: Where a pod writes its outputs, a file each.
OUTPUTS: Final = "/klever/outputs"

_FORMATS: Final = tuple(MODULES)
_TARGETS: Final = tuple(sorted({pair.target for pair in PAIRS}))


@dataclass(frozen=True)
class Input:
    """One input; where ``default`` is None it has to be given."""

    name: str
    description: str
    default: str | None = ""
    enum: tuple[str, ...] = ()

    def as_parameter(self) -> Parameter:
        """Return it as an input of a template."""
        parameter = Parameter(name=self.name, description=self.description, enum=list(self.enum) or None)
        if self.default is not None:
            parameter.default = self.default
        return parameter

    def as_argument(self) -> Parameter:
        """Return it as a parameter of a workflow, whose value is the default until somebody gives another."""
        parameter = Parameter(name=self.name, description=self.description, enum=list(self.enum) or None)
        if self.default is not None:
            parameter.value = self.default
        return parameter

    def passed(self) -> tuple[str, str]:
        """Return its name with what gives a task of a DAG the same value that the DAG got."""
        return self.name, "{{" + given(self.name) + "}}"


@dataclass(frozen=True)
class Output:
    """One output of a pod or of a template that is made of others."""

    name: str
    description: str

    def of_pod(self) -> Parameter:
        """Return it as what a pod leaves in a file."""
        return Parameter(
            name=self.name, description=self.description, value_from=ValueFrom(path=f"{OUTPUTS}/{self.name}")
        )

    def from_task(self, task: str) -> str:
        """Return what gives the next task the value that ``task`` had for it."""
        return "{{tasks." + task + ".outputs.parameters." + self.name + "}}"

    def of_task(self, task: str, source: "Output | None" = None) -> Parameter:
        """Return it as ``source`` (itself) of ``task``, as an output of the DAG around it."""
        return Parameter(
            name=self.name,
            description=self.description,
            value_from=ValueFrom(parameter=(source or self).from_task(task)),
        )

    def of_workflow(self, step: str) -> Parameter:
        """Return it as that of ``step``, as an output of the steps around it and of the whole workflow."""
        return Parameter(
            name=self.name,
            description=self.description,
            global_name=self.name,
            value_from=ValueFrom(parameter="{{steps." + step + ".outputs.parameters." + self.name + "}}"),
        )


_REFERENCE = "HOST[:PORT]/PROJECT/NAME[:TAG][@DIGEST]"

MODEL: Final = Input("model", f"The model's artifact: {_REFERENCE}.", None)
FORMAT: Final = Input("format", "The model's format, where its files leave it open.", "", ("", *_FORMATS))
REPACK: Final = Input(
    "repack",
    "Whether a layer that another tool packed with an ormbfile.yaml inside is packed anew without it, for tools that"
    " read that file and not the config. All bytes of the layer move.",
    "false",
    ("false", "true"),
)
EXTRACT_AS: Final = Input(
    "as",
    "Where the result is published: HOST[:PORT]/PROJECT/NAME:TAG. Empty for the model's own tag, which moves where it"
    " still points at what was read.",
)
TOLD_INPUTS: Final = Input(
    "inputs",
    'What the author says of the inputs, where the files do not tell: [{"name": "x", "size": [-1, 3], "dType":'
    ' "float32"}].',
)
TOLD_OUTPUTS: Final = Input("outputs", "The same of the outputs.")
ALL_TAGS: Final = Input(
    "all_tags",
    "Whether every other tag of the repository that points at what was read moves to the result too.",
    "false",
    ("false", "true"),
)
FROM: Final = Input(
    "from", "The format that the model has to have. Empty for any that its metadata says.", "", ("", *_FORMATS)
)
TO: Final = Input("to", "The format to convert to.", None, _TARGETS)
AS: Final = Input(
    "as", f"Where the result is published: {_REFERENCE}. Empty for the source's with the format behind its tag."
)
OPSET: Final = Input(
    "opset",
    f"The version of ONNX's operators, {MIN_OPSET} to {MAX_OPSET}.",
    str(DEFAULT_OPSET),
    tuple(map(str, range(MIN_OPSET, MAX_OPSET + 1))),
)
BATCH: Final = Input("batch", "The first size of every input: a number or dynamic. Empty for the model's own.")
SHAPES: Final = Input(
    "shapes",
    'Shapes of inputs that the model leaves open, as JSON: {"data": [-1, 3, 224, 224]}, -1 for a dynamic size.',
)
DTYPE: Final = Input(
    "dtype", "float16 to compute in half precision; inputs and outputs keep their types.", "", ("", "float16")
)
REQUIRE: Final = Input(
    "require",
    "What has to be shown of the result before it is published: that it computes what the source does (compared),"
    " that it runs (executed), or nothing (none).",
    Level.EXECUTED.value,
    tuple(level.value for level in Level),
)
SEED: Final = Input("seed", "What the inputs of the proof are made from, a number.", "0")
MEMORY: Final = Input("memory", "Memory of the pod that converts, e.g. 4Gi. Empty for what the plan works out.")
STORAGE: Final = Input("storage", "Disk of the pod that converts, e.g. 20Gi. Empty for what the plan works out.")
SOURCE: Final = Input(
    "source", "What to publish: a URL or a path /sources/CLAIM/..., within what the administrator allows.", None
)
PUBLISH_AS: Final = Input("as", f"Where it is published: {_REFERENCE}.", None)
FORMATS: Final = Input(
    "formats", 'The formats to convert to: "ONNX, SavedModel" or JSON, ["ONNX", "SavedModel"].', "ONNX"
)
PATTERN: Final = Input(
    "as",
    "Where the results are published: a reference in which {format} stands for the format in lower case. Empty for the"
    " model's with the format behind its tag.",
)

REFERENCE: Final = Output("reference", "The artifact, pinned to its digest.")
DIGEST: Final = Output("digest", "The digest of its manifest.")
FOUND_FORMAT: Final = Output("format", "Its format.")
SIGNATURE: Final = Output("signature", "Its inputs and outputs on one line.")
NOTE: Final = Output("note", "What somebody should know about it; mostly empty.")
CHANGED: Final = Output("changed", "Whether its metadata was written, true or false.")
MOVED: Final = Output("moved", "Whether the tag that was meant points at it now, and did not before, true or false.")
LEVEL: Final = Output("level", "What was shown of the result: compared, executed or none.")
FOUND: Final = Output("found", "Whether the same conversion had been made before, true or false.")
PATH: Final = Output("path", "The converters that the conversion goes through.")
PINNED_MODEL: Final = Output("model", "The source, pinned to its digest.")
PLANNED_AS: Final = Output("as", "Where the result will be published.")
PLANNED_IMAGE: Final = Output("image", "The image in which to convert, by its short name.")
PLANNED_MEMORY: Final = Output("memory", "The memory that the conversion needs.")
PLANNED_STORAGE: Final = Output("storage", "The disk that the conversion needs.")
KEY: Final = Output("key", "64 hexadecimal digits that name the result.")
TARGETS: Final = Output("targets", "What to convert to and where to publish it, as JSON.")
REPORT: Final = Output("report", "What was shown of each result, as JSON.")
REFERENCES: Final = Output("references", "The results, pinned to their digests, as JSON.")
