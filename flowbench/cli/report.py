"""`flowbench report`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run")
@click.option(
    "--base", "bases", multiple=True, metavar="FOLDER", help="Evaluations of the base model. Can be repeated."
)
def report(run: str, bases: tuple[str, ...]) -> None:
    """Write a run's report.html.

    It holds the table of its evaluations, pictures before and after, the curves and the settings, in one file.
    """
    from flowbench.trainer.runs import stored_config

    stored_config(run)  # refuses a folder that is no run before anything is written into it
    from flowbench.evals import training_report

    own = [run] if any(Path(run).glob("eval/*/summary.json")) else []
    click.echo(training_report(run, evaluations=own, bases=bases))
