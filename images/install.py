"""Install what `plan.py` wrote: distributions into Klever's virtual environment, and environments beside it.

    python3 install.py /plan

It runs in a build stage. pip takes its index from its own configuration. What does not belong here: what is installed,
and what of it stays in the image.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from layer import HOME

ENVIRONMENTS: Final = HOME / "environments"
#: Distributions that a wheel from the usual index wants for a graphics card, and one for the CPU does not have.
CARD: Final = "nvidia-"


def main(directory: str) -> None:
    plan = Path(directory)
    packages, environments = lines_of(plan / "packages.txt"), lines_of(plan / "environments.txt")
    if packages:
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-qq", "--no-install-recommends", *packages)
    run(sys.executable, "-m", "venv", "--without-pip", str(HOME))
    pins = lines_of(plan / "pins.txt")
    if pins:
        pip("--no-deps", *(line for line in pins if not line.startswith(CARD)))
        if not imports(lines_of(plan / "modules.txt")):
            pip("--no-deps", *(line for line in pins if line.startswith(CARD)))
    # Those with pins are there already, and the constraints hold the same versions.
    pip("--constraint", str(plan / "constraints.txt"), "--requirement", str(plan / "requirements.txt"))
    ENVIRONMENTS.mkdir()
    if environments:
        make(environments)


def pip(*arguments: str) -> None:
    python = str(HOME / "bin" / "python")
    options = ["--disable-pip-version-check", "--quiet", "--only-binary", ":all:"]
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, *arguments)


def imports(modules: list[str]) -> bool:
    script = "".join(f"import {module}\n" for module in modules)
    return subprocess.run([HOME / "bin" / "python", "-c", script], capture_output=True, check=False).returncode == 0


def make(environments: list[str]) -> None:
    """Make environments as ``klever environments create`` does, with its modules, which are below ``klever/`` here."""
    script = (
        "import sys\n"
        "from klever.steps.environments.create import create\n"
        "from klever.steps.environments.table import environment\n"
        "for name in sys.argv[1:]:\n"
        "    create(environment(name), lambda done, doing: print(f'{done:4.0%}  {name}: {doing}', flush=True))\n"
    )
    variables = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent.absolute()),
        "KLEVER_ENVIRONMENTS": str(ENVIRONMENTS),
    }
    subprocess.run([sys.executable, "-c", script, *environments], check=True, env=variables)
    for lock in ENVIRONMENTS.glob(".*.lock"):
        lock.unlink()


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]


if __name__ == "__main__":
    main(*sys.argv[1:])
