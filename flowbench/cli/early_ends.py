"""What ends the process in the place of flowbench is reported: a crash in C, or a plugin that calls `os._exit`."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

UNFINISHED = 1
"""The exit code of a process that a plugin has ended: a 0 would say that the work is done."""


@contextmanager
def reported() -> Iterator[None]:
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
                print(f"error: {caller} has ended the program by os._exit({status}).", file=sys.stderr, flush=True)
            status = status or UNFINISHED
        end_now(status)

    os._exit = exit_at_once  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = end_now
