"""The command line ``klever``: a command a file in ``commands``, loaded when it is called.

What does not belong here: the work itself, which is in `klever.steps`.
"""

import sys


def main() -> None:
    """Run ``klever`` with the process's arguments and exit with its code."""
    from klever.api.cli.run import run

    sys.exit(run(sys.argv[1:]))
