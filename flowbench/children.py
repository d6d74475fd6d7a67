"""How the package starts a Python of its own: what lies in the working folder is never imported there."""

from __future__ import annotations

import sys
from pathlib import Path

LAUNCHER = "FLOWBENCH_LAUNCHER"
"""Environment variable: the number of the process that has launched this one."""
MEETING = "FLOWBENCH_MEETING"
"""Environment variable: the file over which the processes of a training run, started together, find each other."""

_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); import flowbench; sys.path.append(sys.path.pop(0)); "
    "module = __import__(sys.argv.pop(1), fromlist=['main']); sys.argv[0] = 'flowbench'; module.main()"
)


def python(module: str, *words: str) -> list[str]:
    """The command that calls `main` of a module with these words, in a fresh interpreter that does not look into the
    folder in which it starts (-P). It takes the flowbench that runs here, installed or not; what else lies beside that
    comes behind all that is installed."""
    return [sys.executable, "-P", "-u", "-c", _PROGRAM, str(Path(__file__).parents[1]), module, *words]
