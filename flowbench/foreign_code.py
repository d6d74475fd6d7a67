"""Plugins and libraries run in our process: what they print is no result, and how they end it is reported."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TextIO

from flowbench.terminal import say

UNFINISHED = 1
"""The exit code of a process that foreign code has ended: a 0 would say that the work is done."""

_lock = threading.Lock()
_blocks = 0
_restore = ExitStack()


@contextmanager
def diverted() -> Iterator[None]:
    """Within, standard output is standard error, for C code and child processes too: it is kept for results.

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


@contextmanager
def early_ends_reported() -> Iterator[None]:
    """Within, a crash leaves the traceback of every thread on stderr, and `os._exit` says who has called it and never
    gives the exit code 0. Processes that this one forks are left alone: they end so as a rule."""
    if not faulthandler.is_enabled():
        with suppress(AttributeError, OSError, ValueError):  # there may be no stderr
            faulthandler.enable(sys.__stderr__)  # type: ignore[arg-type]
    process, end_now = os.getpid(), os._exit

    def exit_at_once(status: int) -> None:
        caller = sys._getframe(1).f_globals.get("__name__", "?")
        if os.getpid() == process and not caller.startswith("flowbench."):
            with suppress(OSError, ValueError):
                say(f"error: {caller} has ended the program by os._exit({status}).", err=True)
            status = status or UNFINISHED
        end_now(status)

    os._exit = exit_at_once  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = end_now


def _flush(stream: TextIO) -> None:
    """The stream's buffer, and those of C, whose `printf` keeps its text back as well."""
    with suppress(OSError, ValueError, AttributeError):  # closed, or none at all
        stream.flush()
    if os.name == "posix":
        import ctypes

        ctypes.CDLL(None).fflush(None)
