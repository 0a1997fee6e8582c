"""What the controller counts, for Prometheus.

What does not belong here: what the server counts (`klever.api.http`), and how numbers are served.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from klever.workflows.status import Kind, Phase, Run

if TYPE_CHECKING:
    from klever.api.controller.index import JobIndex

#: From what a person does not notice to what an outage takes, in seconds.
_QUEUE_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900)
#: From a header that is read to a conversion of a night.
_STAGE_BUCKETS: Final = (1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600, 4 * 3600)
_RELIST_BUCKETS: Final = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)
#: Names of steps beyond these count as one: people's own pipelines have any number of them.
_MAX_STAGES: Final = 50
_OTHER_STAGES: Final = "other"


class Metrics:
    """The controller's numbers, in a registry of their own."""

    def __init__(self, jobs: "JobIndex") -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_JobsByPhase(jobs))
        self.leads = Gauge("klever_controller_leads", "Whether this replica leads.", registry=self._registry)
        self.queue_seconds = Histogram(
            "klever_modeljob_queue_seconds",
            "From a job's creation, which Kubernetes keeps in whole seconds, until its Workflow is created.",
            buckets=_QUEUE_BUCKETS,
            registry=self._registry,
        )
        self._stage_seconds = Histogram(
            "klever_modeljob_stage_seconds",
            "How long the pods of finished jobs took, by step.",
            ["stage"],
            buckets=_STAGE_BUCKETS,
            registry=self._registry,
        )
        self._stages: set[str] = set()
        self.failures = Counter(
            "klever_controller_failures",
            "Looks at a job that have to be taken again, by what was in the way.",
            ["reason"],
            registry=self._registry,
        )
        self.relist_seconds = Histogram(
            "klever_relist_seconds", "How long a relist took.", buckets=_RELIST_BUCKETS, registry=self._registry
        )
        self.relist_jobs = Counter(
            "klever_relist_jobs", "Jobs that a relist made because no event had.", registry=self._registry
        )
        self.relist_failures = Counter(
            "klever_relist_failures", "Relists that could not be ended.", registry=self._registry
        )

    def ended(self, run: Run) -> None:
        """Note how long the pods of a run took."""
        for node in run.nodes.values():
            if node.kind is not Kind.POD or node.phase is not Phase.SUCCEEDED:
                continue
            if node.started is None or node.finished is None:
                continue
            stage = node.template or _OTHER_STAGES
            if stage not in self._stages:
                stage = stage if len(self._stages) < _MAX_STAGES else _OTHER_STAGES
                self._stages.add(stage)
            self._stage_seconds.labels(stage).observe((node.finished - node.started).total_seconds())

    def render(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        return generate_latest(self._registry)


class _JobsByPhase(Collector):
    """How many jobs there are in each phase, counted when somebody asks."""

    def __init__(self, jobs: "JobIndex") -> None:
        self._jobs = jobs

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "klever_modeljobs", "ModelJobs by phase, as the leader knows them.", labels=["phase"]
        )
        for phase, count in self._jobs.counts().items():
            family.add_metric([phase or "New"], count)
        yield family
