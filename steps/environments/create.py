"""Make an environment on request, and remove one.

One creator at a time holds a lock; a directory becomes an environment by its marker, which is written last, so a
creator that is killed leaves what the next one clears away. It is made at its last place and not renamed to it: a virtual
environment holds its own path. What does not belong here: what an environment holds.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from klever.steps.environments.locate import MARKER, directory_of, is_made, python_of, serves
from klever.steps.environments.pythons import find_python
from klever.steps.environments.run import Progress
from klever.steps.environments.table import Environment
from klever.steps.errors import PermanentError, TemporaryError, printable, storage_error

#: What pip prints of a failure that another try may not meet. It follows a lost connection up with "No matching
#: distribution", so these are looked for first.
_PASSING: Final = (
    "Connection aborted",
    "Connection broken",
    "Connection refused",
    "ConnectTimeoutError",
    "Name or service not known",
    "NewConnectionError",
    "No space left on device",
    "NameResolutionError",
    "ProtocolError",
    "ProxyError",
    "ReadTimeoutError",
    "Temporary failure in name resolution",
    "Too Many Requests",
    "50",
)
"""placeholder"""
