"""Standard output is for results: what a plugin or a library prints while work is going on goes to standard error."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TextIO

_lock = threading.Lock()
_blocks = 0
_restore = ExitStack()


@contextmanager
def diverted() -> Iterator[None]:
    """Within, standard output is standard error, for C code and child processes too.

    Blocks may be nested and run in several threads; what was there comes back when the last of them ends.
    """
    global _blocks
    with _lock:
        _blocks += 1
        if _blocks == 1:
            _flush(sys.stdout)
            _restore.callback(setattr, sys, "stdout", sys.stdout)
            with suppress(OSError):  # a process may have been started without one of them
                kept = os.dup(1)
                _restore.callback(os.close, kept)
                os.dup2(2, 1)
                _restore.callback(os.dup2, kept, 1)
            sys.stdout = sys.stderr
            _restore.callback(_flush, sys.stderr)
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if _blocks == 0:
                _restore.close()


def _flush(stream: TextIO) -> None:
    """The stream's buffer, and those of C, whose `printf` keeps its text back as well."""
    with suppress(OSError, ValueError, AttributeError):  # closed, or none at all
        stream.flush()
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)
