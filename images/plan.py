"""Write what an image has installed, as files for `install.py`.

    python3 plan.py convert-keras /plan

It runs in a build stage, with the tables below ``klever/`` and without any distribution. What does not belong
here: which environment is in which image, which `workflows/templates/images.py` says, and requirements: those of Klever
are in `pyproject.toml`, those of environments in `steps/environments/table.py`.
"""

import sys
import tomllib
from pathlib import Path
from typing import Final

from klever.steps.environments.table import ENVIRONMENTS, Environment
from klever.workflows.templates.images import IMAGE_OF_ENVIRONMENT, IMAGES

#: The image with the ways in. No step runs in it, so the table of the templates does not have it.
API: Final = "api"
#: What Debian has and the wheels of an environment expect on the machine.
PACKAGES: Final = {"prove-mxnet": ("libgomp1", "libquadmath0")}


def main(image: str, directory: str) -> None:
    if image not in (*IMAGES, API):
        raise SystemExit(f"there is no image {image!r}; choose one of {', '.join((*IMAGES, API))}")
    plan = Path(directory)
    plan.mkdir()
    inside, beside = environments(image)
    lines = list(distributions(image))
    pins = list(inside.requirements) if inside else []
    pinned = {name_of(line) for line in pins}
    constraints = Path("constraints.txt").read_text(encoding="utf-8").splitlines()
    write(plan / "requirements.txt", lines)
    write(plan / "pins.txt", pins)
    write(plan / "constraints.txt", [*pins, *(line for line in constraints if name_of(line) not in pinned)])
    write(plan / "modules.txt", inside.modules if inside else ())
    write(plan / "environments.txt", [each.id for each in beside])
    write(plan / "packages.txt", sorted({name for each in beside for name in PACKAGES.get(each.id, ())}))


def environments(image: str) -> tuple[Environment | None, list[Environment]]:
    """Return the environment that the image's interpreter serves, and those that are made beside it.

    Where an image is named for converters with a framework, the first is inside. An environment that does not run on
    this Python is in no image; what needs it says so.
    """
    held = [ENVIRONMENTS[name] for name, at in IMAGE_OF_ENVIRONMENT.items() if at == image and name]
    held = [each for each in held if sys.version_info[:2] in each.pythons]
    inside = next((each for each in held if each.id.startswith("convert-")), None)
    # With the extra `convert` the interpreter serves this one everywhere.
    return inside, [each for each in held if each not in (inside, ENVIRONMENTS["prove-onnx"])]


def distributions(image: str) -> list[str]:
    """Return what `pyproject.toml` asks for: the base install, and the extras of the image."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {"steps": [], API: ["workflows", "api"]}.get(image, ["convert"])
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return list(dict.fromkeys(lines))


def name_of(requirement: str) -> str:
    return requirement.partition("==")[0].strip().lower().replace("_", "-")


def write(path: Path, lines: list[str] | tuple[str, ...]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
