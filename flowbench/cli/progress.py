"""A progress bar for evaluations: on a terminal live, elsewhere nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

TEXTS = {"generate": "making pictures", "score": "scoring them"}


@contextmanager
def evaluation_progress(suite: str) -> Iterator[Callable[[str, int, int], None]]:
    """Yields what `benchmarks.evaluate` takes as `progress`. On stderr, so that stdout holds the table alone."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        tasks = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(f"{suite}: {TEXTS[stage]}", total=total)
            bar.update(tasks[stage], completed=done)

        yield show
