"""The progress of an evaluation: on a terminal a live bar, elsewhere a plain line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flowbench.foreign_code import raise_swallowed_interrupt
from flowbench.terminal import one_line, say

BETWEEN_LINES = 30.0
"""Seconds from one line to the next, and those that a stage may take without a word."""
Clock = Callable[[], float]
"""-> seconds; only differences count."""


@contextmanager
def evaluation_progress(
    suite: str, *, quiet: bool = False, clock: Clock = time.monotonic
) -> Iterator[Callable[[str, int, int], None]]:
    """Yields what `benchmarks.evaluate` takes as `progress`. On stderr, so that stdout holds the table alone. Of
    several processes that share a stderr all but one are `quiet`. A Ctrl-C that a library has swallowed ends it."""
    with _bars(suite, quiet, clock) as show:

        def progress(stage: str, done: int, total: int) -> None:
            raise_swallowed_interrupt()
            show(stage, done, total)

        yield progress


@contextmanager
def _bars(suite: str, quiet: bool, clock: Clock) -> Iterator[Callable[[str, int, int], None]]:
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield lambda stage, done, total: None
    elif console.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        bar = BarColumn(bar_width=20)
        columns = (TextColumn("{task.description}", markup=False), bar, MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bars:
            tasks = {}

            def show(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(one_line(f"{suite}: {_text(stage)}"), total=total)
                bars.update(tasks[stage], completed=done)

            yield show
    else:
        lines = _Lines(suite, clock)
        yield lines.show
        lines.end()


class _Lines:
    """For a log file: a line about every `BETWEEN_LINES` seconds, and one at the end of a stage that took longer."""

    def __init__(self, suite: str, clock: Clock):
        self.suite, self.clock, self.stage = suite, clock, ""
        self.begun = self.said = clock()
        self.since: tuple[float, int] | None = None

    def show(self, stage: str, done: int, total: int) -> None:
        if stage != self.stage:
            self.end()
            self.stage = stage
        now = self.clock()
        if done == total:
            self.end()
            return
        if now - self.said >= BETWEEN_LINES:
            left = ""  # at the pace since the last line (or the stage's first word): what was there costs no time
            if self.since is not None and done > self.since[1]:
                then, before = self.since
                left = f", {_minutes((total - done) * (now - then) / (done - before))} left"
            self._say(f" {done}/{total}{left}")
            self.said, self.since = now, (now, done)
        self.since = self.since or (now, done)

    def end(self) -> None:
        """The stage is over, at its last picture or (a share's last is another one) without a word."""
        now = self.clock()
        if self.stage and now - self.begun >= BETWEEN_LINES:
            self._say(f": done in {_minutes(now - self.begun)}")
        if self.stage:
            self.begun = self.said = now
        self.stage, self.since = "", None

    def _say(self, words: str) -> None:
        say(f"{self.suite}: {_text(self.stage)}{words}", err=True)


def _minutes(seconds: float) -> str:
    """41 -> 0:41, 3725 -> 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _text(stage: str) -> str:
    """Stages are "generate" and the scorers' names."""
    return "making pictures" if stage == "generate" else f"scoring, {stage}"
