"""Start a program of this folder: ``python main.py PROGRAM REQUEST REPLY [MEMORY]``.

REQUEST is a JSON file, REPLY the one that is written: ``{"result": {...}}`` or ``{"error": {"type", "cause"}}``.
Progress goes to the standard output as lines of JSON, ``[0.25, "loading"]``, the framework's own words to the standard
error. The process ends with its standard input, so that none outlives the one that asked. MEMORY is a limit in bytes.

This file and the programs that prove old models run on Python 3.7.
"""

import importlib
import json
import os
import resource
import signal
import sys
import threading
import traceback
from typing import Any, Dict


def main(program: str, request_path: str, reply_path: str, memory: str = "0") -> int:
    """Run one program; the exit code is 0 whenever a reply was written."""
    # What a framework prints is its own; the pipe carries progress alone.
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _end_with_parent()
    _limit(int(memory))

    def progress(done: float, doing: str) -> None:
        pipe.write(json.dumps([done, doing]) + "\n")
        pipe.flush()

    with open(request_path, encoding="utf-8") as stream:
        request = json.load(stream)
    reply: Dict[str, Any]
    try:
        reply = {"result": importlib.import_module(program).run(request, progress)}
    except Exception as error:  # whatever a framework raises becomes a sentence
        traceback.print_exc()
        reply = {"error": {"type": type(error).__name__, "cause": str(error)}}
    with open(reply_path + ".part", "w", encoding="utf-8") as stream:
        json.dump(reply, stream)
    os.replace(reply_path + ".part", reply_path)
    # Frameworks crash in their destructors more often than in their work, and nothing is left to do.
    sys.stderr.flush()
    os._exit(0)


def _end_with_parent() -> None:
    """Kill this session when the standard input ends, which a parent holds open for as long as it lives."""
    leads = os.getsid(0) == os.getpid()
    lifeline = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def watch() -> None:
        while os.read(lifeline, 1):
            pass
        if leads:
            os.killpg(os.getpid(), signal.SIGKILL)

    # Started by hand, from a shell or a file, it is nobody's child in this sense.
    if leads:
        threading.Thread(target=watch, daemon=True).start()


def _limit(memory: int) -> None:
    """Bound what a hostile model can make a framework take: memory in bytes, and no core dump with user data."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if memory and (hard == resource.RLIM_INFINITY or memory < hard):
        # Data, not address space: frameworks map more than they ever touch.
        resource.setrlimit(resource.RLIMIT_DATA, (memory, hard))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
