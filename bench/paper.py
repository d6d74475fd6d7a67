"""The tables of Flow-GRPO's paper on the built-in model: `python bench/paper.py TABLE`.

Every table asks about one claim (bench/paper_plan.py), by runs of equal training time under the protocol of
bench/objectives.py: a budget in yardsticks, the averaged policy on dev at ten checkpoints, the last one on test, paired
intervals over prompts. Each run leaves a JSON file in docs/results/data and is not made again; it may be killed at any
moment. Then docs/reproduction.md is written from the files alone, with all tables of which there is something.

KEY=VALUE are settings for all runs and the yardstick, for trying the command. Without TABLE: all tables.
"""

from __future__ import annotations

import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import CalledProcessError

import click
from objectives import DATA, run_command
from objectives_measure import measured_base
from objectives_plan import Plan, Run, check_trial, provenance, seeds_of
from objectives_run import carry_out
from paper_page import write
from paper_plan import TABLES, Arm, Table, find, is_made, results, runs

from flowbench.errors import FlowbenchError

DOCS = Path("docs")


def make(plan: Plan, tables: list[Table], seeds: list[int]) -> list[str]:
    """All runs of the tables that are not there; returns the names of those that failed."""
    for task in {table.task for table in tables}:
        own = replace(plan, task=task)
        measured_base(own.base_file, plan.work / f"base-{task.name}", plan.limit, provenance(own), task)
    failed = []
    wanted = {run.digest: (arm, run) for table in tables for arm, run in runs(plan, table, seeds)}
    for arm, run in wanted.values():
        if is_made(arm, run, results(plan)):
            continue
        click.echo(f"{run.name}: begins")
        try:
            carry_out(run)
        except (CalledProcessError, FlowbenchError) as error:  # the others can be made
            click.echo(f"{run.name}: failed ({error})", err=True)
            failed.append(run.name)
    return failed


def show(plan: Plan, tables: list[Table]) -> None:
    """Which runs are there."""
    known = results(plan)
    for table in tables:
        for arm, run in runs(plan, table):
            click.echo(f"{table.name:12s} {run.name:36s} {_state(arm, run, known)}")


def _state(arm: Arm, run: Run, known: dict[str, dict[str, object]]) -> str:
    if is_made(arm, run, known):
        return f"done {known[run.digest]['date']}"
    return "begun" if run.folder.is_dir() else "to do"


@click.command(help=__doc__)
@click.option("--seeds", help="Of these seeds alone, with commas; default: all that a table has.")
@click.option("--budget", default=12.0, help="Training time of a run, in yardsticks of 20 steps.")
@click.option("--limit", type=int, help="Prompts of every evaluation; default: all. For trying the command.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/paper"), help="Runs and evaluations.")
@click.option("--docs", type=click.Path(path_type=Path), default=DOCS, help="The page, and results/data/.")
@click.option("--list", "instead", flag_value="list", help="Show what would be run, and what is there; run nothing.")
@click.option("--page", "instead", flag_value="page", help="Write the page from the files that are there; run nothing.")
@click.argument("words", nargs=-1, metavar="[TABLE] [KEY=VALUE]...")
def main(
    seeds: str | None,
    budget: float,
    limit: int | None,
    work: Path,
    docs: Path,
    instead: str | None,
    words: tuple[str, ...],
) -> None:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that a training ends with us
    overrides = tuple(word for word in words if "=" in word)
    tables = [find(word) for word in words if "=" not in word] or list(TABLES)
    command = shlex.join(["python", *sys.argv])
    plan = Plan(budget, limit, overrides, work, docs / "results" / DATA, command, "paper")
    check_trial(plan, docs == DOCS)
    known = sorted({seed for table in tables for arm in table.arms for seed in arm.seeds})
    chosen = seeds_of(seeds, known) if seeds else known
    if instead == "list":
        show(plan, tables)
        return
    failed = [] if instead == "page" else make(plan, tables, chosen)
    click.echo(f"written: {write(plan, docs)}")
    if failed:
        raise click.ClickException(f"failed, and to be made by the same command: {', '.join(failed)}")


if __name__ == "__main__":
    run_command(main)
