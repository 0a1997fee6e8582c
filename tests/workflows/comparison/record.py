"""Run cases on a real Argo and write what happened as the records that the local runner is held to.

    python -m tests.workflows.comparison.record [CASE ...]

Without a name it records every case. It needs the cluster that KUBECONFIG names, and the image of ``image/`` on it.
"""

import sys

from klever.workflows.argo.client import connect

from . import records
from .cases import every_case
from .cluster import allow, run_all, temporary_namespace


def main(names: list[str]) -> None:
    cases = every_case()
    chosen = [cases[name] for name in names] or list(cases.values())
    with connect() as cluster, temporary_namespace(cluster) as namespace:
        allow(cluster, namespace)
        for case, workflow in run_all(cluster, namespace, chosen, seconds=1800):
            records.write(case.name, records.of_argo(case.name, workflow))
            print(case.name, workflow["status"]["phase"], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
