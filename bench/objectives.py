"""All objectives by the same prompts, seeds, pictures per step and wall-clock budget: `python bench/objectives.py`.

Every run is a recipe and a seed: all recipes of the built-in model with the first seed, then the five that were best
(and the default, and the one before it) with two more. A run is bracketed by a yardstick, 20 steps of the old default
recipe; its budget is given in yardsticks and turned into steps before it begins. Each leaves a JSON file in
docs/results/data, and what is there, of the same settings, is not made again: the work can be spread over days and
machines, and killed at any moment. At the end the page is written from the files alone.

OVERRIDES are settings for all recipes and the yardstick, as in `rollout.groups=2`: for trying the command.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
from objectives_measure import measured_base
from objectives_page import load, page
from objectives_plan import SEEDS, Plan, Run, check_trial, first_runs, more_runs, prompts_differ, provenance, seeds_of
from objectives_plot import draw
from objectives_run import carry_out

from flowbench import store
from flowbench.errors import FlowbenchError

RESULTS, DATA = Path("docs/results"), "data"
"""Where the page is, and the folder of the JSON files beside it."""


def measure(plan: Plan, only: list[str], seeds: list[int]) -> list[str]:
    """Make all runs that are not there; returns the names of those that failed."""
    measured_base(plan.base_file, plan.work / "base", plan.limit, provenance(plan))
    first = [run for run in first_runs(plan, only) if run.seed in seeds]
    failed = [run.name for run in first if not _made(run)]
    ranked = [outcome.recipe for outcome in sorted(load(plan).outcomes, key=lambda outcome: outcome.key(seeds=1))]
    more = [run for run in more_runs(plan, ranked, only) if run.seed in seeds]
    return failed + [run.name for run in more if not _made(run)]


def _made(run: Run) -> bool:
    """Whether its result is there now. One that fails does not keep the others from being made."""
    if run.result is not None:
        return True
    click.echo(f"{run.name}: begins")
    try:
        carry_out(run)
    except (subprocess.CalledProcessError, FlowbenchError) as error:
        click.echo(f"{run.name}: failed ({error})", err=True)
        return False
    click.echo(f"{run.name}: done, {run.file}")
    return True


def show(plan: Plan, only: list[str]) -> None:
    """The runs with the first seed, those with others of which there is something, and what is not alike in all."""
    listed = first_runs(plan, only)
    for first in listed:
        others = [plan.run(first.recipe, seed) for seed in SEEDS[1:]]
        for run in [first, *(each for each in others if each.file.is_file() or each.work.is_dir())]:
            click.echo(f"{run.recipe:24s} {run.config.objective.name:12s} seed {run.seed}  {run.state}")
    for difference, recipes in prompts_differ(listed).items():
        click.echo(f"not as {listed[0].recipe}: {difference}: {', '.join(recipes)}")


def write(plan: Plan, results: Path) -> None:
    """The page and its plot."""
    found = load(plan)
    if not found.outcomes:
        raise click.ClickException(f"{plan.data}: no run of these settings is there yet.")
    plot = store.write_bytes(results / "objectives.png", draw(found.base, found.outcomes))
    text = page(found, results / "objectives_conclusions.md", plot.name)
    click.echo(f"written: {store.write_text(results / 'objectives.md', text)}")


@click.command(help=__doc__)
@click.option("--only", default="", help="Recipes (nft, shapes-nft), with commas; default: all.")
@click.option("--seeds", default=",".join(map(str, SEEDS)), help="Of these seeds alone.")
@click.option("--budget", default=12.0, help="Training time of a run, in yardsticks of 20 steps.")
@click.option("--limit", type=int, help="Prompts of every evaluation; default: all. For trying the command.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/objectives"), help="Runs and evaluations.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="The page, and data/.")
@click.option("--list", "instead", flag_value="list", help="Show what would be run, and what is there; run nothing.")
@click.option("--page", "instead", flag_value="page", help="Write the page from the files that are there; run nothing.")
@click.argument("overrides", nargs=-1)
def main(
    only: str, seeds: str, budget: float, limit: int | None, work: Path, results: Path, instead: str | None,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that a training ends with us
    plan = Plan(budget, limit, overrides, work, results / DATA, shlex.join(["python", *sys.argv]))
    check_trial(plan, results == RESULTS)
    chosen = [name for name in only.split(",") if name]
    if instead == "list":
        show(plan, chosen)
        return
    failed = [] if instead == "page" else measure(plan, chosen, seeds_of(seeds, SEEDS))
    write(plan, results)
    if failed:
        raise click.ClickException(f"failed, and to be made by the same command: {', '.join(failed)}")


def run_command(command: click.Command) -> None:
    """As a program: a mistake is one sentence and exit code 2."""
    try:
        command()
    except FlowbenchError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    run_command(main)
