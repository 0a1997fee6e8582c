"""A ModelJob as people write it and as the controller answers it.

    >>> spec = {"model": "harbor.example/release/mnist:v1", "extraction": {}}
    >>> parse_job({"metadata": {"name": "read"}, "spec": spec}).name
    'read'

The description of a field is what ``kubectl explain`` says of it. Types and sizes alone are checked here, so that an
object which some older version let pass can still be read. What does not belong here: which jobs make sense (``rules``
for the API server, ``request`` for the controller).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, ValidationError
from pydantic.alias_generators import to_camel

from klever.steps.errors import PermanentError, printable
from klever.workflows.argo.client import Resource

MODEL_JOBS: Final = Resource("kleveross.io", "modeljobs")
GROUP: Final = MODEL_JOBS.group
API_VERSION: Final = f"{MODEL_JOBS.group}/{MODEL_JOBS.version}"
KIND: Final = "ModelJob"

#: A name of 255 characters with its host, a tag of 128 and a digest by SHA-512, with what stands between them.
MAX_REFERENCE: Final = 255 + 1 + 128 + 1 + len("sha512:") + 128
#: The longest id of a format has 11 characters.
MAX_FORMAT: Final = 32
#: Names of objects: an RFC 1123 subdomain.
MAX_NAME: Final = 253
MAX_VARIABLES: Final = 64
MAX_ARGUMENTS: Final = 64
MAX_ARGUMENT_NAME: Final = 128
#: As long as an argument of a program may be on Linux (``MAX_ARG_STRLEN``), by half: letters may take several bytes.
MAX_VALUE: Final = 1 << 16
MAX_REPLICAS: Final = 1000
#: Ten years.
MAX_TTL_SECONDS: Final = 10 * 366 * 24 * 3600


class InvalidJobError(PermanentError):
    """A ModelJob that cannot be run as it is written."""

    usual_step = "correct the spec and apply it again; kubectl explain modeljob.spec says what each field takes"


class Part(BaseModel):
    """A part of the document: names in camel case; what is not known is left out, as the API server does."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


def _to_utc(time: datetime) -> datetime:
    # Kubernetes keeps whole seconds; without its zone a time is taken for UTC.
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)


#: A time in UTC and whole seconds, written as Kubernetes does: ``2026-01-31T12:00:00Z``.
Time = Annotated[
    datetime,
    AfterValidator(_to_utc),
    PlainSerializer(lambda time: f"{time:%Y-%m-%dT%H:%M:%S}Z", return_type=str, when_used="json"),
]
_Reference = Annotated[str, Field(max_length=MAX_REFERENCE)]
_Format = Annotated[str, Field(max_length=MAX_FORMAT)]
_Name = Annotated[str, Field(max_length=MAX_NAME)]
_Value = Annotated[str, Field(max_length=MAX_VALUE)]
_ArgumentName = Annotated[str, Field(max_length=MAX_ARGUMENT_NAME)]


class Variable(Part):
    """One variable, as containers have them."""

    name: Annotated[str, Field(max_length=MAX_NAME, description="Name of the variable: INPUTS or OUTPUTS.")]
    value: _Value | None = Field(
        None,
        description=(
            "A JSON list with an object for each input or output: name, size (a list of numbers, -1 where any size"
            ' goes) and dType. For example [{"name": "data", "size": [-1, 3, 224, 224], "dType": "float32"}].'
        ),
    )
    value_from: dict[str, Any] | None = Field(
        None,
        description="Not taken: the value has to stand in the job. The field is here so that such a job says so.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )


class Extraction(Part):
    """Reads the model's signature from its bytes, without loading it, and writes it into the artifact's metadata."""

    format: _Format | None = Field(
        None,
        description=(
            "The model's format, in upper or lower case, where its files leave it open. It is recognised from the files"
            " where this is absent."
        ),
    )


class Formats(Part):
    """From which format to which; in upper or lower case."""

    from_: Annotated[str, Field(max_length=MAX_FORMAT)] | None = Field(
        None, alias="from", description="The format of the model, for example MXNetParams."
    )
    to: _Format | None = Field(None, description="The format to convert to, for example ONNX.")


class Conversion(Part):
    """Converts the model, proves the result against its source, and publishes it with its signature and certificate."""

    mmdnn: Formats | None = Field(
        None,
        description=(
            "From which format to which. The name is historic and chooses no tool: the most exact converters that there"
            " are do the work."
        ),
    )


class Platform(StrEnum):
    """What a deployment is an object of."""

    KUBERNETES = "kubernetes"
    SELDON = "seldon"
    KSERVE = "kserve"


class Server(StrEnum):
    """What answers predictions."""

    TRITON = "triton"
    MLSERVER = "mlserver"
    OPENSCORING = "openscoring"


class Deployment(Part):
    """Serves the model, by the WorkflowTemplate klever-deploy of the job's namespace."""

    name: Annotated[str, Field(max_length=63)] | None = Field(
        None,
        description=(
            "What the deployment is called: lower-case letters, digits and hyphens. The template's own choice by"
            " default."
        ),
    )
    platform: Platform | None = Field(
        None,
        description=(
            "What it is an object of: kubernetes (a Deployment with a Service), seldon (a SeldonDeployment) or kserve"
            " (an InferenceService). The template's own choice by default."
        ),
    )
    server: Server | None = Field(
        None, description="What answers predictions. By default the server that takes the model's format."
    )
    replicas: Annotated[int, Field(ge=0, le=MAX_REPLICAS)] | None = Field(
        None, description="How many pods serve it.", json_schema_extra={"format": "int32"}
    )


class Pipeline(Part):
    """Runs any WorkflowTemplate of the job's namespace."""

    template: _Name = Field(description="Name of the WorkflowTemplate. klever run lists those of Klever.")
    arguments: Annotated[dict[_ArgumentName, _Value], Field(max_length=MAX_ARGUMENTS)] = Field(
        default_factory=dict,
        description=(
            "Values for the template's parameters, as text. spec.model is given as the parameter model and"
            " spec.desiredTag as the parameter as, where the template has these."
        ),
    )


class ModelJobSpec(Part):
    """What to do with which model. A change of it is a new generation, for which the work is done anew."""

    model: _Reference | None = Field(
        None,
        description=(
            "Reference of the artifact to work on: HOST[:PORT]/PROJECT/NAME[:TAG][@DIGEST]. Required, except for a"
            " pipeline whose template takes none."
        ),
    )
    desired_tag: _Reference | None = Field(
        None,
        description=(
            "Reference to push the result as: HOST[:PORT]/PROJECT/NAME:TAG. For an extraction the model's own when"
            " absent, for a conversion the model's with the format behind its tag."
        ),
    )
    extraction: Extraction | None = Field(
        None,
        description=(
            "Reads the model's signature from its bytes, without loading it, and writes it into the artifact's"
            " metadata. Where spec.model has a digest, every tag that points at it moves to the result. Exactly one of"
            " extraction, conversion, deployment and pipeline is set; extraction: {} will do."
        ),
    )
    conversion: Conversion | None = Field(
        None,
        description=(
            "Converts the model, proves the result against its source, and publishes it with its signature and"
            " certificate."
        ),
    )
    deployment: Deployment | None = Field(
        None, description="Serves the model, by the WorkflowTemplate klever-deploy of the job's namespace."
    )
    pipeline: Pipeline | None = Field(
        None, description="Runs any WorkflowTemplate of the job's namespace with arguments."
    )
    env: Annotated[list[Variable], Field(max_length=MAX_VARIABLES)] = Field(
        default_factory=list,
        description=(
            "INPUTS and OUTPUTS say what the model's files do not: names, sizes and types of its inputs and outputs."
            " Other variables had a meaning for images of earlier versions; they are not used, and status.conditions"
            " says so."
        ),
    )
    init_container: Any = Field(
        None,
        description=(
            "Historic: containers to run before. A job that has any is not run, which status.conditions says; write a"
            " WorkflowTemplate with these steps, and spec.pipeline."
        ),
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=MAX_TTL_SECONDS)] | None = Field(
        None,
        description=(
            "Seconds after which the finished job is deleted, and with it its Workflow. The controller's own default"
            " when absent. What was published stays."
        ),
        json_schema_extra={"format": "int64"},
    )


class JobPhase(StrEnum):
    """Where a job stands; the empty one is that of a job that nobody has looked at."""

    NEW = ""
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETING = "Deleting"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to this generation of the job."""
        return self in (JobPhase.SUCCEEDED, JobPhase.FAILED)


class ConditionType(StrEnum):
    """The conditions that a job has once it was looked at."""

    ACCEPTED = "Accepted"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Part):
    """One condition, with the fields that conditions of Kubernetes have."""

    type: str = Field(
        description="Accepted (the job can be run), Running, Succeeded or Failed. kubectl wait waits for one of them."
    )
    status: ConditionStatus = Field(description="Whether it holds: True, False or Unknown.")
    reason: str = Field("", description="One word for a program to read.")
    message: str = Field("", description="One sentence for a person to read.")
    last_transition_time: Time = Field(description="When the status of this condition last changed.")
    observed_generation: int | None = Field(
        None, description="The generation of the job that this was said of.", json_schema_extra={"format": "int64"}
    )


class CertificateSummary(Part):
    """How the result of a conversion was proven; the whole certificate is beside the result in the registry."""

    level: str = Field(
        description=(
            "What was shown: compared (it computes what its source does), executed (it runs on inputs of its signature)"
            " or none."
        )
    )
    path: str | None = Field(None, description="The converters that the conversion went through.")


class Result(Part):
    """What the job made."""

    reference: str | None = Field(None, description="The artifact, pinned to its digest.")
    digest: str | None = Field(None, description="The digest of the artifact's manifest.")
    format: str | None = Field(None, description="The format of the model in it.")
    signature: str | None = Field(
        None, description="Its inputs and outputs on one line: x float32[-1, 3] -> y float32[-1, 2]."
    )
    certificate: CertificateSummary | None = Field(
        None, description="How the result of a conversion was proven; the whole certificate is in the registry."
    )
    outputs: dict[str, str] | None = Field(
        None, description="Further outputs of the Workflow by their names; long ones are in the Workflow alone."
    )


class ModelJobStatus(Part):
    """What the controller says of the job. Nobody else writes it."""

    phase: JobPhase = Field(
        JobPhase.NEW,
        description="Pending, Running, Succeeded, Failed or Deleting; empty until the controller has seen the job.",
    )
    message: str = Field(
        "",
        description=(
            "One sentence that a person can act on: what it waits for, what was made, or what failed and what to do."
        ),
    )
    work: str | None = Field(
        None, description="The kind of work in short: extraction, conversion to ONNX, deployment, pipeline NAME."
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        description=(
            "Accepted, Running, Succeeded and Failed. kubectl wait --for=condition=Succeeded modeljob/NAME returns when"
            " the job has succeeded."
        ),
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    workflow: str | None = Field(
        None, description="Name of the Workflow that does the work: argo get NAME, klever workflows get NAME."
    )
    result: Result | None = Field(None, description="What the job made; absent until it has succeeded.")
    start_time: Time | None = Field(None, description="When the Workflow began.")
    completion_time: Time | None = Field(None, description="When the job succeeded or failed.")
    observed_generation: int | None = Field(
        None,
        description="The metadata.generation that this status is about; an older one than the job's will be updated.",
        json_schema_extra={"format": "int64"},
    )

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of a type, None where there is none."""
        return next((each for each in self.conditions if each.type == kind), None)

    def to_json(self) -> dict[str, Any]:
        """Return it as the API server takes it, without absent fields."""
        document = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return document if self.conditions else {k: v for k, v in document.items() if k != "conditions"}


class ModelJob(Part):
    """One ModelJob. Its metadata stays as the API server gave it."""

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: dict[str, Any] = Field(default_factory=dict)
    spec: ModelJobSpec
    status: ModelJobStatus = Field(default_factory=ModelJobStatus)

    @property
    def name(self) -> str:
        """Its name in its namespace."""
        return str(self.metadata.get("name") or "")

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.metadata.get("namespace") or "")

    @property
    def uid(self) -> str:
        """What tells it from an earlier one of the same name."""
        return str(self.metadata.get("uid") or "")

    @property
    def generation(self) -> int:
        """The version of its spec, from 1."""
        return int(self.metadata.get("generation") or 1)

    @property
    def is_deleting(self) -> bool:
        """Whether somebody has deleted it, and it waits for its finalizers."""
        return bool(self.metadata.get("deletionTimestamp"))


def parse_job(document: Mapping[str, Any]) -> ModelJob:
    """Return the job that a document of the API server tells of.

    A status that cannot be read counts for none, as it is ours to write. Raises `InvalidJobError`.
    """
    fields = {key: value for key, value in document.items() if key != "status"}
    if fields.get("spec") is None:
        raise InvalidJobError(
            "the job has no spec",
            stage="job",
            next_step="write spec.model and one of spec.extraction, conversion, deployment and pipeline",
        )
    try:
        job = ModelJob.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidJobError(f"{printable(place)} is not right: {printable(first['msg'], 300)}", stage="job") from None
    return job.model_copy(update={"status": parse_status(document.get("status"))})


def parse_status(document: object) -> ModelJobStatus:
    """Return a status as the API server gives it; an empty one for what cannot be read."""
    try:
        return ModelJobStatus.model_validate(document or {})
    except ValidationError:
        return ModelJobStatus()
