"""The command line ``klever``: a command a file in ``commands``, loaded when it is called.

What does not belong here: the work itself, which is in `klever.steps`.
"""

import gc
import os
import sys

#: Collections before this many new objects would only walk what the imports made; a command ends soon.
_GC_THRESHOLD = 100_000


def main() -> None:
    """Run ``klever`` with the process's arguments and exit with its code."""
    gc.set_threshold(_GC_THRESHOLD)
    # Klever has no pydantic plugins; looking for some reads the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from klever.api.cli.run import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # Before or after the command itself, which tells of it.
        code = 130
    # At its exit the interpreter collects garbage among all objects; those frozen are not walked, only let go of.
    gc.freeze()
    sys.exit(code)
