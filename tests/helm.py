"""The real ``helm``, and the chart as it renders it.

Where there is no helm, tests are skipped by name; in a CI run they fail. What does not belong here: a cluster.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts/klever"
#: What templates are rendered for where no cluster is asked; some builds of helm name one of years ago.
KUBERNETES = "1.31"
NAMESPACE = "models"
Document = dict[str, Any]


def find_helm() -> str:
    """Return the path of helm."""
    found = shutil.which("helm") or shutil.which(Path("~/.cache/klever-cluster/bin/helm").expanduser())
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("a CI run has the helm program")
        pytest.skip("needs the helm program")
    return found


def helm(*arguments: str | Path, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm, with these values over the chart's own."""
    given = ["--values", "-"] if values is not None else []
    return subprocess.run(
        [find_helm(), *map(str, arguments), *given],
        input=json.dumps(values) if values is not None else None,
        capture_output=True,
        text=True,
        timeout=120,
    )


def render(
    values: Mapping[str, Any] | None = None,
    *,
    chart: Path = CHART,
    release: str = "klever",
    options: Iterable[str] = (),
) -> list[Document]:
    """Return the objects of a release in the namespace `NAMESPACE`."""
    done = helm(
        *("template", release, chart, "--namespace", NAMESPACE, "--kube-version", KUBERNETES, *options),
        values=values or {},
    )
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.load_all(done.stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if each]


def refusal(values: Mapping[str, Any]) -> str:
    """Return what helm says of values that it refuses."""
    done = helm("template", "klever", CHART, "--kube-version", KUBERNETES, values=values)
    assert done.returncode != 0, "helm takes them"
    return done.stderr


def of_kind(documents: Iterable[Document], *kinds: str) -> list[Document]:
    """Return the objects of these kinds."""
    return [each for each in documents if each["kind"] in kinds]


def named(documents: Iterable[Document], kind: str, name: str) -> Document:
    """Return the one object of a kind and name."""
    (found,) = [each for each in of_kind(documents, kind) if each["metadata"]["name"] == name]
    return found
