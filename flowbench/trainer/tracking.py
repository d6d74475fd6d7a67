"""Where a run's figures go: log.jsonl (the record), TensorBoard, and the terminal."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from flowbench.checkpoints import read_log
from flowbench.images import read_picture, to_array
from flowbench.layout import RunFolder
from flowbench.store import append_jsonl, to_json, write_text
from flowbench.terminal import one_line, say
from flowbench.trainer.objectives.base import Figure


class Tracker:
    """Logs one line per training step; wall-clock figures stand under `timing`, so that the rest can be compared."""

    def __init__(self, run: RunFolder, first: int, total: int, figures: Sequence[Figure] = ()):
        from torch.utils.tensorboard import SummaryWriter

        self._run = run
        self._total = total
        self._figures = figures
        self._pace = Pace()
        _cut_log(run.log, first)
        self._board = SummaryWriter(str(run.tensorboard), purge_step=first + 1)  # steps are counted from 1
        self._terminal = _Terminal(first, total)

    def log(self, step: int, figures: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """Record training step `step` (1-based: the number of steps done)."""
        append_jsonl(self._run.log, {"step": step, **figures, "timing": dict(timing)})
        for name, value in {**figures, **{f"timing/{name}": value for name, value in timing.items()}}.items():
            if math.isfinite(value):
                self._board.add_scalar(name, value, step)
        left = self._pace.left(self._total - step, time.monotonic())
        self._terminal.show(step, describe(self._figures, figures, timing, left))

    def picture(self, name: str, sheet: bytes, step: int) -> None:
        """A PNG, on the board."""
        self._board.add_image(name, to_array(read_picture(name, sheet)), step, dataformats="HWC")

    def say(self, line: str) -> None:
        """A line of its own on the terminal: something has begun or ended."""
        self._terminal.say(line)

    def close(self) -> None:
        self._board.close()
        self._terminal.close()


class NullTracker:
    """What the other processes log to."""

    def log(self, step: int, figures: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """Nothing."""

    def picture(self, name: str, sheet: bytes, step: int) -> None:
        """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class _Terminal:
    """A live line on a terminal; one line every tenth of the run, or every 30 seconds, in a file."""

    def __init__(self, first: int, total: int):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._console = Console(file=sys.stderr)
        self._live = self._console.is_terminal
        self._last = 0.0
        columns = (
            TextColumn("training"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[line]}", markup=False),
        )
        self._progress = Progress(*columns, console=self._console, disable=not self._live)
        self._task = self._progress.add_task("training", total=total, completed=first, line="")
        self._progress.start()

    def show(self, step: int, line: str) -> None:
        self._progress.update(self._task, completed=step, line=one_line(line))
        now = time.monotonic()
        total = int(self._progress.tasks[0].total or step)
        if not self._live and (now - self._last > 30 or step == total):
            self._last = now
            with suppress(OSError):  # a reader that has left (`| head`) must not end the run
                say(f"step {step}/{total}  {line}", err=True)

    def say(self, line: str) -> None:
        if self._live:
            self._progress.console.print(line, markup=False, highlight=False)
        else:
            with suppress(OSError):
                say(line, err=True)

    def close(self) -> None:
        self._progress.stop()


class Pace:
    """The time left, at the pace of the steps after the first: that one waits for libraries, caches and kernels."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._steps = 0

    def left(self, steps: int, now: float) -> float | None:
        """Seconds that `steps` more will take, at the end of a step; None after the first."""
        if self._first is None:
            self._first = now
            return None
        self._steps += 1
        return (now - self._first) / self._steps * steps


def describe(
    declared: Sequence[Figure], figures: Mapping[str, float], timing: Mapping[str, float], left: float | None
) -> str:
    """One terminal line: reward and spread in the groups (or passes over a data file), what the objective shows of its
    own, speed, time left."""
    shown = [each for each in declared if each.shown and math.isfinite(figures[each.name])]
    own = [each.shown.format(figures[each.name]) for each in shown]
    skipped = figures.get("optimizer/skipped", 0)
    own += [f"skipped {skipped:.0f}"] if skipped > 0 else []
    time_left = [] if left is None else [f"{int(left // 60)}:{int(left % 60):02d} left"]
    if "reward/mean" in figures:
        first = f"reward {figures['reward/mean']:.3f} spread {figures['reward/group_std']:.3f}"
    else:
        first = f"passes {figures['data/passes']:.2f}"
    return " ".join([first, *own, f"{timing['images_per_second']:.0f} images/s", *time_left])


def _cut_log(path: Path, first: int) -> None:
    """Drop lines of steps that will be taken again: those after the checkpoint that is resumed."""
    kept = [record for record in read_log(path) if record["step"] <= first]
    text = "".join(to_json(record) + "\n" for record in kept)
    if path.is_file() and path.read_bytes() != text.encode():
        write_text(path, text)
