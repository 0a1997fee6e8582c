"""The program ``klever-task``: what every pod of Klever's workflow templates runs, and on a laptop their tasks.

    klever-task extract --model=harbor.example/vision/resnet:v1 --directory=/klever/outputs

Plain values in, plain values out, each output a file; a verb a file in ``verbs``, loaded when it is called. What does
not belong here: the work itself, which is in `klever.steps`; what a workflow looks like, which is in
`klever.workflows`.
"""

import gc
import os
import sys

#: Collections before this many new objects would only walk what the imports made; a task ends soon.
_GC_THRESHOLD = 100_000


def main() -> None:
    """Run ``klever-task`` with the process's arguments and exit with its code."""
    gc.set_threshold(_GC_THRESHOLD)
    # Klever has no pydantic plugins; looking for some reads the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from klever.api.task.run import run

    code = run(sys.argv[1:])
    gc.freeze()
    sys.exit(code)
