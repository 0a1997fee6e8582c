"""NVIDIA's Triton Inference Server: its model repository, of which ``config.pbtxt`` says what the files do not.

    SERVER.layout(model, Tuning()).texts["config.pbtxt"]
    at_release("24.08").formats        # those of an older server: SavedModel and GraphDef too

`server` is the `Server`; everything else here is a part of it. What does not belong here: requests and replies.
"""

from klever.steps.serving.servers.triton.release import parse_release
from klever.steps.serving.servers.triton.server import Triton

SERVER = Triton()


def at_release(release: str) -> Triton:
    """Return the server of a release, ``24.08`` for that of August 2024; raises `ServingError`."""
    return Triton(parse_release(release))
