"""An installation of an older version of the chart becomes one of this version, with the values that it was given."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import apply_crd, lack, temporary_namespace
from helm import CHART, ROOT, helm

from klever.workflows.argo.client import Cluster

pytestmark = pytest.mark.cluster

#: What somebody said when the older version was installed.
SAID: dict[str, Any] = {
    "crds": {"install": False},
    "controller": {"replicas": 0},
    "server": {"replicas": 0},
    "harbor": {"url": "http://harbor.example:8080"},
    "registry": {"insecure": True},
}
KINDS = (
    "deployments,services,configmaps,serviceaccounts,roles,rolebindings,networkpolicies,workflowtemplates.argoproj.io"
)
OURS = "app.kubernetes.io/instance=klever"


@pytest.fixture
def old_chart(tmp_path: Path) -> Path:
    """The chart as it was: with the values that it had, and without what came later."""
    old = tmp_path / "klever"
    shutil.copytree(CHART, old)
    shutil.copy(ROOT / "tests/charts/values-0.1.yaml", old / "values.yaml")
    for later in ("network.yaml", "disruption.yaml", "monitoring.yaml"):
        (old / "templates" / later).unlink()
    return old


@pytest.fixture
def home(cluster: Cluster) -> Iterator[str]:
    """A namespace for the release."""
    for program in ("kubectl", "helm"):
        if shutil.which(program) is None:
            lack(f"{program} on the PATH")
    apply_crd()
    with temporary_namespace(cluster, "klever-test-upgrade") as name:
        yield name


def specs(namespace: str) -> dict[tuple[str, str], Any]:
    """Return what the objects of the release say, by kind and name."""
    command = ["kubectl", "get", KINDS, "--namespace", namespace, f"--selector={OURS}", "--output=json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return {
        (each["kind"], each["metadata"]["name"]): each.get("spec", each.get("rules", each.get("data")))
        for each in json.loads(done.stdout)["items"]
    }


def test_an_upgrade_that_keeps_the_values_of_an_older_version_gives_what_an_installation_gives(
    old_chart: Path, home: str
) -> None:
    done = helm("install", "klever", old_chart, "--namespace", home, values=SAID)
    assert done.returncode == 0, done.stderr
    assert ("NetworkPolicy", "klever-server") not in specs(home)
    done = helm("upgrade", "klever", CHART, "--namespace", home, "--reuse-values")
    assert done.returncode == 0, done.stderr
    assert "registry.insecure is now called registry.plainHttp" in done.stdout
    upgraded = specs(home)
    assert ("NetworkPolicy", "klever-server") in upgraded
    # The same, said in the words of this version.
    said = SAID | {"registry": {"plainHttp": True}}
    for component in ("controller", "server"):
        said[component] = SAID[component] | {"resources": {"requests": None}}
    done = helm("upgrade", "klever", CHART, "--namespace", home, "--reset-values", values=said)
    assert done.returncode == 0, done.stderr
    assert specs(home) == upgraded
    done = helm("uninstall", "klever", "--namespace", home)
    assert done.returncode == 0, done.stderr
    assert specs(home) == {}
