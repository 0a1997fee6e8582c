"""The server for PMML, JPMML's evaluator behind OpenScoring's interface; its source is ``images/serve-openscoring``.

The model's directory holds ``NAME.pmml`` alone. The server refuses documents with a DTD, as our own reader does. What
does not belong here: requests and replies (`klever.steps.serving.openscoring`).
"""

from types import MappingProxyType
from typing import Final

from klever.steps.errors import ServingError
from klever.steps.serving.openscoring import model_path
from klever.steps.serving.servers.interface import Layout, Process, Protocol, ServedModel, Server, Tuning

_FORMAT: Final = "PMML"


class OpenScoring(Server):
    """OpenScoring's interface, one record a request."""

    id = "openscoring"
    formats = frozenset({_FORMAT})

    def lacks(self, model: ServedModel) -> tuple[str, ...]:
        """Return nothing: a PMML document tells all that its evaluator needs."""
        del model
        return ()

    def layout(self, model: ServedModel, tuning: Tuning) -> Layout:
        """Return where the document lies; raises `ServingError` for a format other than PMML."""
        if model.format != _FORMAT:
            raise ServingError(f"openscoring serves PMML, got {model.format}", next_step="choose another server")
        notes = []
        if tuning.max_batch:
            notes.append("a request is one record, so requests are not batched")
        if tuning.gpu:
            notes.append("the evaluator of PMML runs on processors; the graphics card is not used")
        return Layout({f"{model.name}.pmml": model.claim.files[0]}, notes=tuple(notes))

    def process(self, name: str, tuning: Tuning) -> Process:
        """Return how the server is started; it listens when the model is loaded, so both probes ask for the model."""
        del tuning
        return Process(
            image="serve-openscoring",
            command=("serve-openscoring", "--host", "{host}", "--port", "{http}", "{directory}/{name}"),
            ports=MappingProxyType({"http": 8080}),
            live=model_path(name),
            ready=model_path(name),
            protocol=Protocol.OPENSCORING,
        )


SERVER = OpenScoring()
