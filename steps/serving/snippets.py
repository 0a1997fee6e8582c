"""Write the few lines by which people ask a model that is served: with curl, with Python alone, with tritonclient.

Requests are made from the signature, so they run as they stand. What does not belong here: sending them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from klever.steps.errors import ServingError
from klever.steps.serving import openscoring
from klever.steps.serving.datatypes import dtype_of
from klever.steps.serving.servers.interface import Protocol
from klever.steps.serving.v2 import Values, build_request, infer_path

#: More values than these are made by code, not written out.
_WRITTEN_VALUES: Final = 64
KINDS: Final = ("curl", "python", "tritonclient")


def snippet(kind: str, url: str, name: str, inputs: Sequence[Values], protocol: str = Protocol.V2) -> str:
    """Return the lines that ask the model ``name`` at ``url`` for a prediction on inputs like these.

    In OpenScoring's protocol they ask about the first record.
    """
    if protocol == Protocol.OPENSCORING:
        if kind not in KINDS[:2]:
            raise ServingError(f"{kind[:40]!r} does not speak to OpenScoring", next_step="use curl or python")
        record = {each.name: each.data[0] for each in inputs if each.data}
        address, body = f"{url}{openscoring.model_path(name)}", openscoring.build_request(record)
        return _curl(address, body) if kind == "curl" else _python_record(address, body)
    match kind:
        case "curl":
            return _curl(f"{url}{infer_path(name)}", build_request(inputs))
        case "python":
            return _python(url, name, inputs)
        case "tritonclient":
            return _tritonclient(url, name, inputs)
    raise ServingError(f"there are no lines for {kind[:40]!r}", next_step=f"use one of {', '.join(KINDS)}")


def _curl(address: str, body: Mapping[str, Any]) -> str:
    # Of a shell's characters only this one ends a text in single quotes.
    quoted = json.dumps(body).replace("'", "'\\''")
    return f"curl -s {address} -H 'Content-Type: application/json' -d '{quoted}'"


def _python_record(address: str, body: Mapping[str, Any]) -> str:
    return "\n".join(
        [
            "import json",
            "import urllib.request",
            "",
            "request = urllib.request.Request(",
            f"    {address!r},",
            f"    data=json.dumps({dict(body)!r}).encode(),",
            '    headers={"Content-Type": "application/json"},',
            ")",
            "with urllib.request.urlopen(request) as answer:",
            '    print(json.load(answer)["results"])',
        ]
    )


def _python(url: str, name: str, inputs: Sequence[Values]) -> str:
    lines = ["import json", "import urllib.request", "", "inputs = ["]
    for each in inputs:
        shape, data = list(each.shape), _written(each)
        lines.append(f'    {{"name": {each.name!r}, "shape": {shape}, "datatype": "{each.datatype}", "data": {data}}},')
    lines += [
        "]",
        "request = urllib.request.Request(",
        f"    {url + infer_path(name)!r},",
        '    data=json.dumps({"inputs": inputs}).encode(),',
        '    headers={"Content-Type": "application/json"},',
        ")",
        "with urllib.request.urlopen(request) as answer:",
        '    for output in json.load(answer)["outputs"]:',
        '        print(output["name"], output["shape"], output["data"])',
    ]
    return "\n".join(lines)


def _tritonclient(url: str, name: str, inputs: Sequence[Values]) -> str:
    lines = [
        "import numpy as np",
        "import tritonclient.http as triton",
        "",
        f"client = triton.InferenceServerClient({url.partition('://')[2]!r})",
        "inputs = []",
    ]
    for each in inputs:
        shape = list(each.shape)
        kind = "object" if each.datatype == "BYTES" else f"np.{_numpy_name(each.datatype)}"
        lines += [
            f"values = np.array({_written(each)}, dtype={kind}).reshape({shape})",
            f"inputs.append(triton.InferInput({each.name!r}, {shape}, {each.datatype!r}))",
            "inputs[-1].set_data_from_numpy(values)",
        ]
    lines += [
        f"result = client.infer({name!r}, inputs)",
        'for output in result.get_response()["outputs"]:',
        '    print(output["name"], result.as_numpy(output["name"]))',
    ]
    return "\n".join(lines)


def _numpy_name(datatype: str) -> str:
    name = dtype_of(datatype)
    if name is None or name == "bfloat16":
        raise ServingError(f"numpy has no type for {datatype}", next_step="use the lines for curl or python")
    return "bool_" if name == "bool" else name


def _written(values: Values) -> str:
    """Return an expression for the data: all of it, or its first value as often as the shape says."""
    if len(values.data) <= _WRITTEN_VALUES:
        return repr(list(values.data))
    return f"[{values.data[0]!r}] * {len(values.data)}"
