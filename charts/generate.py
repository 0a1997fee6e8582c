"""Write the parts of the chart that the code already knows; with ``--check`` only compare.

    python charts/generate.py            # write the files
    python charts/generate.py --check    # fail where they are not what would be written

`Chart.yaml` has the versions, `README.md` and `values.schema.json` what is in `values.yaml`, `files/defaults.yaml` the
defaults again for templates, `templates/pipelines-*.yaml` the WorkflowTemplates, and accounts and rights of their pods.
What does not belong here: templates that people write, and the CRD, which `klever.api.modeljob.crd` writes.
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml
from pipelines import WRITTEN, pipelines
from shape import open_objects, schema

from klever.workflows.manifest import Document
from klever.workflows.templates.golden import as_yaml
from klever.workflows.templates.settings import Settings

ROOT: Final = Path(__file__).resolve().parents[1]
CHART: Final = ROOT / "charts/klever"
#: Versions of Python (PEP 440) that have a counterpart among those of charts (SemVer 2): 1.2.3, 1.2.3rc1, 1.2.3.dev4.
_VERSION: Final = re.compile(r"(\d+\.\d+\.\d+)(?:\.?(a|b|rc|dev)(\d+))?", re.ASCII)
_PHASES: Final = {"a": "alpha", "b": "beta", "rc": "rc", "dev": "dev"}


def chart_version(version: str) -> str:
    """Return the chart's version for the distribution's; both sort alike among releases."""
    parts = _VERSION.fullmatch(version)
    if parts is None:
        raise SystemExit(f"charts/generate.py knows no version of a chart for {version!r}")
    number, phase, count = parts.groups()
    return f"{number}-{_PHASES[phase]}.{count}" if phase else number


def chart() -> str:
    """Return ``Chart.yaml``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    document = {
        "apiVersion": "v2",
        "name": "klever",
        "type": "application",
        "description": "A model registry's pipelines: what is pushed to Harbor is read, converted and proved, by Argo.",
        "version": chart_version(project["version"]),
        # The tag of the images, as `klever templates apply` has it.
        "appVersion": Settings().image_tag,
        # PodDisruptionBudgets of policy/v1, and seccomp profiles that a restricted namespace asks for.
        "kubeVersion": ">=1.27.0-0",
        "home": "https://github.com/kleveross/klever-model-registry",
        "keywords": project["keywords"],
        "maintainers": project["authors"],
    }
    return f"# {WRITTEN.format(source='pyproject.toml')}\n" + as_yaml([document])


_README: Final = """\
# Klever

What is pushed to Harbor is read, converted and proved by pipelines of Argo. The chart brings the definition of
ModelJobs, their controller, the server that Harbor's events go to, and the pipelines. Argo Workflows has to be
there; whoever installs the definition needs rights of the whole cluster, whoever finds it there does not
(`crds.install: false`).

    helm install klever charts/klever --namespace klever --create-namespace --values values.yaml

A namespace holds one release. Where `klever templates apply` installed the pipelines before, the option
`--take-ownership` makes them the release's.

## Values

| value | default | what it says |
|---|---|---|
"""


def readme(shape: Document) -> str:
    """Return what `helm show readme` prints: how to install, and every value."""
    rows = _rows(shape, yaml.safe_load((CHART / "values.yaml").read_text("utf-8")), "")
    return f"<!-- {WRITTEN.format(source='charts/klever/values.yaml')} -->\n{_README}" + "".join(rows)


def _rows(shape: Document, defaults: Document, above: str) -> Iterator[str]:
    for name, inner in shape["properties"].items():
        if name not in defaults:
            continue
        if "description" not in inner:
            yield from _rows(inner, defaults[name], f"{above}{name}.")
        else:
            yield f"| `{above}{name}` | `{json.dumps(defaults[name])}` | {inner['description']} |\n"


def files() -> dict[str, str]:
    """Return the text of each file by its path in the chart."""
    values = (CHART / "values.yaml").read_text("utf-8")
    written = WRITTEN.format(source="charts/klever/values.yaml")
    defaults = {"open": open_objects(), "defaults": yaml.safe_load(values)}
    shape = schema(values, written)
    return {
        "Chart.yaml": chart(),
        "README.md": readme(shape),
        "values.schema.json": json.dumps(shape, indent=2) + "\n",
        "files/defaults.yaml": f"# {written}\n" + as_yaml([defaults]),
        **{f"templates/{name}": text for name, text in pipelines().items()},
    }


def main(arguments: list[str]) -> int:
    """Write or compare; return 1 where a comparison fails."""
    made = files()
    there = {str(path.relative_to(CHART)) for path in (CHART / "templates").glob("pipelines-*")} - set(made)
    stale = [name for name, text in made.items() if not (CHART / name).is_file() or (CHART / name).read_text() != text]
    if arguments == ["--check"]:
        if stale or there:
            sys.stderr.write(f"not up to date: {', '.join([*stale, *there])}; run python charts/generate.py\n")
        return 1 if stale or there else 0
    for name in stale:
        (CHART / name).parent.mkdir(parents=True, exist_ok=True)
        (CHART / name).write_text(made[name], "utf-8")
    for name in there:
        (CHART / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
