"""Triton's ``ModelConfig``: the classes that protoc made of model_config.proto, from the distribution ``tritonclient``.

The one module is loaded by its path. To import it as a part of ``tritonclient.grpc`` imports gRPC and numpy, which a
configuration has no use for. What does not belong here: what stands in a configuration.
"""

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

from klever.steps.errors import EnvironmentMissingError

_MODULE: Final = "tritonclient.grpc.model_config_pb2"
_FILE: Final = "grpc/model_config_pb2.py"
_INSTALL: Final = "pip install 'klever[serve]'"

#: A message of the schema; its fields are made when the schema is loaded, so there is no type to check them by.
Message = Any


@cache
def load_schema() -> Any:
    """Return the module ``model_config_pb2``; raises `EnvironmentMissingError` that names the extra."""
    if (loaded := sys.modules.get(_MODULE)) is not None:
        return loaded
    package = find_spec("tritonclient")
    folders = package.submodule_search_locations if package else None
    path = next((path for folder in folders or () if (path := Path(folder, _FILE)).is_file()), None)
    spec = spec_from_file_location("klever_triton_model_config", path) if path else None
    if spec is None or spec.loader is None:
        raise _missing("tritonclient, whose schema it is written by, is not installed")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise _missing(f"{error.name} is not installed") from None
    except Exception as error:
        # google.protobuf's VersionError, which has no base of its own: the runtime is older than the schema's code.
        if type(error).__name__ != "VersionError":
            raise
        raise _missing("protobuf is older than tritonclient wants it") from None
    return module


def write_text(message: Message) -> bytes:
    """Return a message in protobuf's text form, UTF-8."""
    text_format = import_module("google.protobuf.text_format")
    text: str = text_format.MessageToString(message, as_utf8=True)
    return text.encode()


def parse_text(text: bytes) -> Message:
    """Parse a ``config.pbtxt``; raises `ValueError` for what is no text form of a ``ModelConfig``."""
    schema = load_schema()
    text_format = import_module("google.protobuf.text_format")
    try:
        return text_format.Parse(text.decode(), schema.ModelConfig())
    except text_format.ParseError as error:
        raise ValueError(str(error)) from None


def _missing(reason: str) -> EnvironmentMissingError:
    return EnvironmentMissingError(f"a configuration of Triton cannot be written: {reason}", next_step=_INSTALL)
