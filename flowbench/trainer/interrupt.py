"""SIGTERM and Ctrl-C end a run after the step at hand, with a checkpoint; a later one ends it at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from flowbench.foreign_code import raise_swallowed_interrupt

DOUBLED = 1.0
"""Seconds within which a further signal is the same request: a scheduler signals torchrun and its processes alike, and
torchrun passes it on."""


class Interruption:
    """`signal` is the number of the signal that asked the run to stop, 0 as long as none did.

    With `announce`, the first signal is answered by a line on stderr: a step may take minutes.
    """

    def __init__(self, *, announce: bool = True) -> None:
        self.signal = 0
        self._at = 0.0
        self._announce = announce

    @contextmanager
    def listening(self) -> Iterator[Interruption]:
        """Catch the signals inside; outside the main thread (where that is impossible) do nothing. Raises
        KeyboardInterrupt for a Ctrl-C that came before, and that a library has swallowed."""
        before: dict[int, Any] = {}
        raise_swallowed_interrupt()
        try:
            for number in (int(signal.SIGTERM), int(signal.SIGINT)):
                before[number] = signal.signal(number, self._note)
        except ValueError:
            before.clear()
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self.signal:
            if time.monotonic() - self._at > DOUBLED:
                raise KeyboardInterrupt
            return
        self.signal, self._at = number, time.monotonic()
        if self._announce:
            with suppress(OSError):  # Ctrl-C has ended `| tee` as well
                # Not print: a handler may come in the middle of another write to the same buffer.
                os.write(2, b"stopping after this step, with a checkpoint; Ctrl-C again stops at once\n")


class Stopped(SystemExit):
    """A run that ended on request, its checkpoint saved. The exit code is 128 + the signal; `step` was the last."""

    def __init__(self, number: int, step: int):
        super().__init__(128 + number)
        self.step = step
