"""`flowbench leaderboard`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from flowbench.cli.output import format_option, show_tables
from flowbench.errors import ConfigError

if TYPE_CHECKING:
    from flowbench.evals import Results
    from flowbench.evals.leaderboard import Leaderboard


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
    names the base rows. The gain is measured against the base row with the best headline.
    """
    from flowbench.evals.leaderboard import to_json
    from flowbench.evals.tables import leaderboard_table

    boards = _boards(runs, bases, suite)
    show_tables(
        [leaderboard_table(board) for board in boards], [to_json(board) for board in boards], style=style, out=out
    )


def _boards(runs: Sequence[str], bases: Sequence[str], suite: str | None) -> list[Leaderboard]:
    """One for each suite, in the order in which the suites are met."""
    from flowbench.evals import build_leaderboard

    named = _found(bases)
    held = {each.folder.resolve() for each in named}
    others = [each for each in _found(runs) if each.folder.resolve() not in held]
    suites = dict.fromkeys(each.summary["suite"] for each in [*named, *others])
    if suite is not None and suite not in suites:
        raise ConfigError(f"no evaluation of suite '{suite}' is in these folders, only of {', '.join(suites)}.")
    is_base = {each.folder: not bases and each.card["subject"]["adapter"] == "none" for each in others}
    return [
        build_leaderboard(
            [each for each in others if each.summary["suite"] == name and not is_base[each.folder]],
            [each for each in [*named, *others] if each.summary["suite"] == name and is_base.get(each.folder, True)],
        )
        for name in ([suite] if suite else suites)
    ]


def _found(folders: Sequence[str]) -> list[Results]:
    """All evaluations in the folders, each once."""
    from flowbench.evals import find_results

    found = {results.folder.resolve(): results for folder in folders for results in find_results(folder)}
    return list(found.values())
