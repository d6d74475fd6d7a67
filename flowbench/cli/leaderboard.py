"""`flowbench leaderboard`."""

from __future__ import annotations

from pathlib import Path

import click

from flowbench.cli.output import format_option, show_tables
from flowbench.errors import ConfigError
from flowbench.terminal import say

PAGE = "leaderboard.html"


@click.command()
@click.argument("runs", nargs=-1)
@click.option(
    "--base", "bases", multiple=True, metavar="FOLDER", help="Evaluations of the base model. Can be repeated."
)
@click.option("--suite", metavar="NAME", help="Only this suite.")
@click.option(
    "--published", multiple=True, metavar="NAME", help="Add what others printed: geneval, drawbench or a .yaml file."
)
@click.option("--allow-mismatch", is_flag=True, help="Rank although declared settings other than guidance differ.")
@click.option("--out", metavar="FILE", help="Write the table to a file (as Markdown unless --format says otherwise).")
@click.option("--html", "page", metavar="[FILE]", is_flag=False, flag_value=PAGE, help=f"Also a page; default {PAGE}.")
@format_option
def leaderboard(
    runs: tuple[str, ...], bases: tuple[str, ...], suite: str | None, published: tuple[str, ...], allow_mismatch: bool,
    out: str | None, page: str | None, style: str | None,
) -> None:  # fmt: skip
    """Rank evaluations and their gains over the base model.

    RUNS are run folders or evaluation folders. Those of a model without an adapter are base rows, unless --base
    names the base rows; given pictures are base rows only then. The gain is measured against the base row with the best
    headline. Evaluations that may not be compared (another suite, other prompts or seeds) get a table each.
    """
    if not (runs or bases or published):
        raise ConfigError("there is nothing to rank. Name run folders, or --published NAME to see what others printed.")
    if page is not None and Path(page).is_dir():  # a run folder behind a bare --html would be taken for its file
        raise ConfigError(f"--html {page}: that is a folder. Put --html last, or name a file: --html {PAGE}.")
    from flowbench import store
    from flowbench.evals import published as tables
    from flowbench.evals.leaderboard import find_leaderboards, to_json
    from flowbench.reports.tables.html import to_html
    from flowbench.reports.tables.leaderboards import leaderboard_table

    boards = find_leaderboards(
        runs,
        bases,
        suite=suite,
        published=[tables.load(name) for name in published],
        allow_mismatch=allow_mismatch,
    )
    shown = [leaderboard_table(board) for board in boards]
    show_tables(shown, [to_json(board) for board in boards], style=style, out=out)
    if page is not None:
        store.write_text(page, to_html(shown, title="Leaderboard" if len(shown) == 1 else "Leaderboards"))
        say(f"wrote {page}", err=True)
