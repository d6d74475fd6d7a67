"""`flowbench report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowbench.layout import EvaluationFolder, RunFolder
from flowbench.terminal import say

if TYPE_CHECKING:
    from flowbench.errors import CardMismatch
    from flowbench.evals import Results

Places = tuple[str | None, str | None]
"""Where the pictures of RUN and of the others lie, when that is not beside their records."""


@click.command()
@click.argument("run")
@click.option("--against", metavar="FOLDER", help="Compare RUN with these evaluations, picture by picture.")
@click.option("--suite", metavar="NAME", help="Only evaluations of this suite.")
@click.option("--allow-mismatch", is_flag=True, help="Compare although declared settings (steps, guidance) differ.")
@click.option(
    "--base", "bases", multiple=True, metavar="FOLDER", help="Evaluations of the base model. Can be repeated."
)
@click.option(
    "--pictures",
    multiple=True,
    metavar="FOLDER",
    help="Where the pictures lie that `flowbench score` has scored. Given twice, the second is for --against.",
)
def report(
    run: str,
    against: str | None,
    suite: str | None,
    allow_mismatch: bool,
    bases: tuple[str, ...],
    pictures: tuple[str, ...],
) -> None:
    """Write a run's report.html, and a gallery of each evaluation.

    RUN is a run folder or an evaluation folder. A training run gets report.html: the table of its evaluations, pictures
    before and after, curves, settings. Each of its evaluations gets gallery.html: every picture with its scores. With
    --against, an evaluation gets a page that puts its pictures beside the other's, the worst regressions first.
    """
    from flowbench.errors import ConfigError, MissingFile
    from flowbench.evals import find_results
    from flowbench.reports import training_report, write_gallery

    if len(pictures) > 1 + (against is not None):
        sides = "there is one side" if against is None else "there are two"
        raise ConfigError(f"--pictures is given {len(pictures)} times; {sides}.")
    missing = next((place for place in pictures if not Path(place).is_dir()), None)
    if missing is not None:
        raise MissingFile(f"--pictures {missing}: there is no such folder. Give the one that was scored.")
    first, second = (*pictures, None, None)[:2]
    if against is not None:
        _compare(run, against, suite, allow_mismatch, (first, second))
        return
    try:
        evaluations = find_results(run, suite)
    except MissingFile:
        if suite is not None:
            raise
        evaluations = []
    folder, config = RunFolder(Path(run)), None
    if folder.is_training or not evaluations:
        from flowbench.trainer.runs import stored_config

        _refuse_unfinished(folder)
        # before anything is written into a folder that is no run
        config = stored_config(run, any_objective=True)
    elif bases:
        raise ConfigError(f"--base is for the report of a training run, and {run} is none. Leave it out.")
    galleries = [write_gallery(each, pictures=first) for each in evaluations]
    if config is None:
        for gallery in galleries:
            say(gallery)
        return
    from flowbench.cli.train import next_commands

    own, commands = [each.folder for each in evaluations], next_commands(folder.path, config)
    say(training_report(run, evaluations=own, bases=bases, galleries=galleries, commands=commands))


def _refuse_unfinished(folder: RunFolder) -> None:
    """Raise a sentence of what is here for a folder that is no training run and holds no finished evaluation."""
    from flowbench.errors import MissingFile, RunError

    if folder.is_training:
        return
    if folder.path.is_dir() and not any(folder.path.iterdir()):
        raise MissingFile(
            f"{folder.path} is an empty folder: it holds no training run and no evaluation. Name another."
        )
    begun = [each for each in (EvaluationFolder(folder.path), *folder.evaluations()) if each.card.is_file()]
    if begun:
        raise RunError(
            f"{begun[0].path}: this evaluation is not finished (there is no {begun[0].summary.name}). Run the same "
            "`flowbench eval` again: it goes on from there."
        )


def _compare(run: str, against: str, suite: str | None, allow_mismatch: bool, places: Places) -> None:
    """Write a page for each evaluation of RUN beside each of the others that it can be compared with.

    Raises ConfigError when the two sides share no suite, and CardMismatch, with the first reason, when no two
    evaluations can be compared. One that finds no partner while others do is named on stderr.
    """
    from flowbench.errors import ConfigError
    from flowbench.evals import find_results

    ours, theirs = find_results(run, suite), find_results(against, suite)
    pages: list[Path] = []
    refused: list[CardMismatch] = []
    for candidate in ours:
        written, mismatches = _beside_each(candidate, theirs, allow_mismatch, places)
        for page in written:
            say(page)
        pages += written
        refused += [] if written else mismatches[:1]
    if not pages and not refused:
        here, there = (", ".join(sorted({each.summary.suite for each in side})) for side in (ours, theirs))
        raise ConfigError(
            f"{run} and {against} share no suite to compare on: here {here}, there {there}. Evaluate both on one."
        )
    if not pages:
        raise refused[0]
    for reason in refused:
        say(f"left out: {reason}", err=True)


def _beside_each(
    candidate: Results, baselines: Sequence[Results], allow_mismatch: bool, places: Places
) -> tuple[list[Path], list[CardMismatch]]:
    """The pages of one candidate, and why others could not be written."""
    from flowbench.errors import CardMismatch
    from flowbench.reports import write_comparison

    pages, mismatches = [], []
    for baseline in baselines:
        if baseline.summary.suite != candidate.summary.suite or baseline.folder.samefile(candidate.folder):
            continue
        try:
            pages.append(
                write_comparison(
                    candidate, baseline, allow_mismatch=allow_mismatch, pictures=places[0], against=places[1]
                )
            )
        except CardMismatch as mismatch:
            mismatches.append(mismatch)
    return pages, mismatches
