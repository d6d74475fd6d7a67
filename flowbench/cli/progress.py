"""A progress bar for evaluations: on a terminal live, elsewhere nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def evaluation_progress(suite: str, *, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Yields what `benchmarks.evaluate` takes as `progress`. On stderr, so that stdout holds the table alone. Of
    several processes on one terminal all but one are `quiet`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        tasks = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(f"{suite}: {_text(suite, stage)}", total=total)
            bar.update(tasks[stage], completed=done)

        yield show


def _text(suite: str, stage: str) -> str:
    """Stages are "generate" and the scorers' names; `flowbench score` has no suite but its scorer."""
    if stage == "generate":
        return "making pictures"
    return "scoring" if stage == suite else f"scoring, {stage}"
