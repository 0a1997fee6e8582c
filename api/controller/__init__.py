"""The controller of ModelJobs: each becomes one Workflow, and its status follows that.

What does not belong here: what a job means (`klever.api.modeljob`), and what asks for one (`klever.api.intake`).
"""

import os
import sys


def main() -> None:
    """Run ``klever-controller`` with the process's arguments and exit with its code."""
    # Klever has no pydantic plugins; looking for some reads the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from klever.api.controller.main import run

    sys.exit(run(sys.argv[1:]))
