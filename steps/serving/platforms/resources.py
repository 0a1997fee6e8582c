"""What a server's container asks for, from the size of the model and its layers.

Arithmetic, because nothing has run yet: too little memory ends in a killed pod, too much in one that finds no node.
What does not belong here: what a conversion takes (`klever.steps.needs`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from klever.steps.quantities import mebibytes

_MIB: Final = 1 << 20

#: Memory of a server that serves nothing, in MiB: Python with MLServer and a framework, Triton with its backends, a
#: JVM. Set above what such processes hold at rest; the first import or the first request is where they peak.
_BASE_MIB: Final = MappingProxyType({"mlserver": 512, "triton": 768, "openscoring": 512})
_UNKNOWN_BASE_MIB: Final = 768
#: While a model is loaded, its file and the weights that are read from it stand in memory together.
_COPIES: Final = 2
#: What a layer gives is kept until the next has used it. A runtime reuses these buffers, but keeps a few for each layer
#: in its plan; 1 MiB a layer is a picture of 512 by 512 values in a single precision.
_LAYER_MIB: Final = 1
#: Deep networks repeat the same sizes, and the plan shares the buffers.
_MOST_LAYERS: Final = 512
#: Where the batch is larger than one, intermediate results are too; not weights.
_MARGIN: Final = 1.25
#: Processors, in thousandths. A request is what the scheduler reserves, so small models share a node. A size is a crude
#: measure of work, and one step for each tenfold of weights is as much as it tells.
_CPU_STEPS: Final = ((10 * _MIB, 100), (100 * _MIB, 250), (1024 * _MIB, 500), (10 * 1024 * _MIB, 1000))
_MOST_CPU: Final = 2000
#: The directory of models: the files, what is made of them, and what an unpacked layer holds besides the model.
_SPARE_STORAGE_MIB: Final = 64


@dataclass(frozen=True)
class Resources:
    """Processors in thousandths, memory and room for the model's files in bytes."""

    cpu: int
    memory: int
    storage: int

    @property
    def quantities(self) -> dict[str, str]:
        """Processors and memory as Kubernetes writes them."""
        return {"cpu": f"{self.cpu}m", "memory": mebibytes(self.memory)}

    @property
    def storage_quantity(self) -> str:
        """The room for files as Kubernetes writes it."""
        return mebibytes(self.storage)


def estimate_resources(
    server: str, size: int, layers: Mapping[str, int] | None = None, *, instances: int = 1
) -> Resources:
    """Estimate for one pod that serves a model whose files have ``size`` bytes.

    ``layers`` are the counts by kind that a signature has, ``instances`` the copies of the model in the one process.
    """
    count = min(sum((layers or {}).values()), _MOST_LAYERS)
    base = _BASE_MIB.get(server, _UNKNOWN_BASE_MIB) * _MIB
    working = max(instances, 1) * (size + count * _LAYER_MIB * _MIB) + (_COPIES - 1) * size
    cpu = next((step for limit, step in _CPU_STEPS if size < limit), _MOST_CPU)
    return Resources(cpu * max(instances, 1), int(base + working * _MARGIN), 2 * size + _SPARE_STORAGE_MIB * _MIB)
