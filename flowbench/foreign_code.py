"""Plugins and libraries run in our process: what they print is no result, what they close stays open, the Ctrl-C that
they swallow is not lost, and how they end the process is reported."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Any, TextIO

from flowbench.terminal import say

UNFINISHED = 1
"""The exit code of a process that foreign code has ended: a 0 would say that the work is done."""

_lock = threading.Lock()
_blocks = 0
_restore = ExitStack()
_pressed = False


@contextmanager
def diverted() -> Iterator[None]:
    """Within, standard output is standard error, for C code and child processes too: it is kept for results.

    Blocks may be nested and run in several threads; what was there comes back when the last of them ends. Both streams
    are lent: who closes one, by `sys.stdout.close()` or its file descriptor, takes it from nobody else.
    """
    global _blocks
    with _lock:
        _blocks += 1
        if _blocks == 1:
            _flush(sys.stdout)
            for number in (1, 2):
                with suppress(OSError):  # a process may have been started without one of them
                    kept = os.dup(number)
                    _restore.callback(os.close, kept)
                    _restore.callback(os.dup2, kept, number)
                    if number == 1:
                        os.dup2(2, 1)
            lent = sys.stderr and _Lent(sys.stderr)
            for name in ("stdout", "__stdout__", "stderr", "__stderr__"):
                _restore.callback(setattr, sys, name, getattr(sys, name))
                setattr(sys, name, lent)
            _restore.callback(_flush, sys.stderr)
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if _blocks == 0:
                _restore.close()


class _Lent:
    """A stream that whoever has it may close or detach: it goes on for all others, and is what it was afterwards."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._stream, name)
        return _Lent(found) if name in ("buffer", "raw") else found

    def close(self) -> None:
        self._stream.flush()

    def detach(self) -> Any:
        return self.buffer

    def __enter__(self) -> _Lent:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._stream)


def note_interrupts() -> None:
    """From now on a Ctrl-C is noted before it is raised, since it is lost where a KeyboardInterrupt cannot pass: Python
    goes on when it comes while an import's lock is let go, numpy makes an ImportError of it, and other compiled modules
    go on, too. Where another handler stands, and outside the main thread, which has them, nothing happens."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _note)


def _note(number: int, frame: FrameType | None) -> None:
    global _pressed
    _pressed = True
    signal.default_int_handler(number, frame)


@contextmanager
def interrupts_noted() -> Iterator[None]:
    """`note_interrupts` within; afterwards nothing is noted any more, and everything is forgotten."""
    global _pressed
    note_interrupts()
    try:
        yield
    finally:
        _pressed = False
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is _note:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupted() -> bool:
    """Whether a Ctrl-C was noted."""
    return _pressed


def raise_swallowed_interrupt() -> None:
    """For what goes on for long: raises KeyboardInterrupt when a Ctrl-C was noted that did not end what went on."""
    if _pressed:
        raise KeyboardInterrupt


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
