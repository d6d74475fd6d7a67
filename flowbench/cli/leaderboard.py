"""`flowbench leaderboard`."""

from __future__ import annotations

import click

from flowbench.cli.output import format_option, show_tables


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "--base", "bases", multiple=True, metavar="FOLDER", help="Evaluations of the base model. Can be repeated."
)
@click.option("--suite", metavar="NAME", help="Only this suite.")
@click.option("--out", metavar="FILE", help="Write the table to a file (as Markdown unless --format says otherwise).")
@format_option
def leaderboard(
    runs: tuple[str, ...], bases: tuple[str, ...], suite: str | None, out: str | None, style: str | None
) -> None:
    """Rank evaluations and their gains over the base model.

    RUNS are run folders or evaluation folders. Those of a model without an adapter are base rows, unless --base
    names the base rows. The gain is measured against the base row with the best headline. Evaluations that may not be
    compared (another suite, other prompts or seeds) get a table each.
    """
    from flowbench.evals.leaderboard import find_leaderboards, to_json
    from flowbench.evals.tables import leaderboard_table

    boards = find_leaderboards(runs, bases, suite=suite)
    show_tables(
        [leaderboard_table(board) for board in boards], [to_json(board) for board in boards], style=style, out=out
    )
