"""SIGTERM and Ctrl-C end a run after the step at hand, with a checkpoint; a second Ctrl-C ends it at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interruption:
    """`signal` is the number of the signal that asked the run to stop, 0 as long as none did."""

    def __init__(self) -> None:
        self.signal = 0

    @contextmanager
    def listening(self) -> Iterator[Interruption]:
        """Catch the signals inside; outside the main thread (where that is impossible) do nothing."""
        before: dict[int, Any] = {}
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
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
