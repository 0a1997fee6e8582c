"""Ask a model that is served for predictions, over HTTP, and prove that it gives some.

Whatever the protocol, inputs and outputs are `Values`: of OpenScoring's, which takes a record at a time, each field is
a column. What does not belong here: what requests and replies are made of (`klever.steps.serving`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from klever.steps.errors import LimitExceededError, ServingError, TemporaryError
from klever.steps.model.signature import Signature
from klever.steps.serving import openscoring, v2
from klever.steps.serving.servers.interface import Protocol
from klever.steps.serving.v2 import ReplyError, Value, Values

#: How long a model may take for one answer, in seconds.
_ANSWER_SECONDS: Final = 120.0
#: The longest answer that is read, in bytes.
_MAX_ANSWER_BYTES: Final = 1 << 30
_OK: Final = 200
#: Python's type of a field to the protocol's name.
_DATATYPES: Final = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}


class UnreachableError(TemporaryError):
    """A server does not answer."""

    usual_step = "see klever serving list and klever serving logs"


def examples(protocol: str, signature: Signature, *, batch: int = 1, seed: int = 0) -> list[Values]:
    """Return inputs that a model of this signature takes; raises `ServingError` where it does not tell enough."""
    if protocol != Protocol.OPENSCORING:
        return v2.example_inputs(signature, batch=batch, seed=seed)
    records = [openscoring.example_arguments(signature, seed=seed + row) for row in range(batch)]
    return _columns(records)


def infer(url: str, name: str, protocol: str, inputs: Sequence[Values]) -> list[Values]:
    """Return a model's predictions; ``url`` is the server's own address.

    Raises `ReplyError` with what the server says where it refuses, `UnreachableError` where it does not answer.
    """
    if protocol != Protocol.OPENSCORING:
        return v2.parse_reply(post(f"{url}{v2.infer_path(name)}", v2.build_request(inputs)))
    path = f"{url}{openscoring.model_path(name)}"
    return _columns(
        [openscoring.parse_reply(post(path, openscoring.build_request(record))) for record in _records(inputs)]
    )


def smoke(url: str, name: str, protocol: str, signature: Signature) -> list[Values]:
    """Ask for a prediction on an example and check it against the signature; return it."""
    outputs = infer(url, name, protocol, examples(protocol, signature))
    if protocol == Protocol.OPENSCORING:
        openscoring.check_reply(next(iter(_records(outputs)), {}), signature)
    else:
        v2.check_reply(outputs, signature)
    return outputs


def post(url: str, document: object) -> Any:
    """Post JSON and return the JSON of the answer; raises `ReplyError` with what the server says where it refuses."""
    import urllib3

    try:
        answer = urllib3.request(
            "POST",
            url,
            body=json.dumps(document).encode(),
            headers={"Content-Type": "application/json"},
            timeout=_ANSWER_SECONDS,
            retries=False,
            redirect=False,
            preload_content=False,
        )
        with answer:
            data = answer.read(_MAX_ANSWER_BYTES + 1)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise UnreachableError(f"{url} does not answer: {type(error).__name__}", stage="predict") from error
    if len(data) > _MAX_ANSWER_BYTES:
        raise LimitExceededError(f"the answer of {url} is longer than {_MAX_ANSWER_BYTES >> 20} MiB", stage="predict")
    try:
        told = json.loads(data)
    except ValueError:
        told = None
    if answer.status != _OK:
        # The one protocol's word for it, and the other's.
        said = (told.get("error") or told.get("message")) if isinstance(told, dict) else None
        shown = str(said or data[:200].decode(errors="replace"))[:500]
        raise ReplyError(f"the server answers {answer.status}: {shown}", stage="predict")
    if told is None:
        raise ReplyError(f"the answer of {url} is no JSON", stage="predict")
    return told


def _records(columns: Sequence[Values]) -> Iterable[dict[str, Value]]:
    """Yield the rows of columns, without what is missing; raises `ServingError` where their lengths differ."""
    lengths = {len(column.data) for column in columns}
    if len(lengths) > 1:
        raise ServingError(
            f"the fields have {', '.join(map(str, sorted(lengths)))} values, expected as many of each",
            stage="predict",
            next_step="give each field one value a record",
        )
    for row in range(lengths.pop() if lengths else 0):
        yield {column.name: column.data[row] for column in columns if column.data[row] is not None}


def _columns(records: Sequence[Mapping[str, Any]]) -> list[Values]:
    """Return the fields of records as columns; None where a record lacks one."""
    names = dict.fromkeys(name for record in records for name in record)
    columns = []
    for name in names:
        data = [record.get(name) for record in records]
        kind = next((type(value) for value in data if value is not None), str)
        columns.append(Values(name, _DATATYPES.get(kind, "BYTES"), (len(data),), data))  # type: ignore[arg-type]
    return columns
