"""Tables to the terminal or into a file, in the format asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from flowbench.errors import RewardError
from flowbench.terminal import say, show_text

if TYPE_CHECKING:
    from flowbench.evals import Results
    from flowbench.reports.tables.formats import Table

WIDTH = 160
"""Of a table that goes into a pipe or a file, where no terminal sets a limit."""
MOST_UNSCORED = 0.1
"""Default of `--max-error-rate` where scores are reported."""
FORMATS = ("terminal", "markdown", "json", "csv", "latex", "html")


def format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--format`; None where it is not given."""
    return click.option("--format", "style", type=click.Choice(FORMATS), help="How the table is written.")(command)


def show_tables(tables: Sequence[Table], data: Any, *, style: str | None, out: str | None = None) -> None:
    """Print the tables (for JSON: `data`), or write them to the file `out`, where Markdown is the default."""
    from rich.console import Console

    from flowbench import store
    from flowbench.reports.tables.formats import to_rich, write

    style = style or ("markdown" if out else "terminal")
    if style == "json":
        text = store.to_json(data, indent=2) + "\n"
    elif style == "terminal":
        console = Console()
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console = Console(width=WIDTH)
        shown = []
        for table in tables:
            with console.capture() as capture:
                console.print(to_rich(table, console.width))
            shown.append(capture.get())
        text = "\n".join(shown)
    else:
        text = write(tables, style)
    if out is not None:
        store.write_text(out, text)
        say(f"wrote {out}")
    elif style == "terminal":  # its cells are safe already, its colours are rich's
        print(text, end="", flush=True)
    else:
        show_text(text)


def refuse_unscored(results: Results, most: float) -> None:
    """Raise RewardError when a scorer has left more than this share of an evaluation's pictures (or prompts) unscored:
    its means then hold for another set than they claim. Everything has been written by then."""
    for scorer in results.summary.scorers:
        total = results.summary.total(scorer.level)
        if scorer.unscored > most * total:
            often = max(scorer.unscored_reasons, key=scorer.unscored_reasons.__getitem__).rstrip(".")
            raise RewardError(
                f"{results.summary.suite}, {scorer.name}: {scorer.unscored} of {total} {scorer.level}s are unscored, "
                f"most often because {often}. What was scored is kept; mend the cause and run the same command again, "
                "or allow it: --max-error-rate 1."
            )
