"""`flowbench eval`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowbench import bounds
from flowbench.children import LAUNCHER
from flowbench.cli.eval_processes import SHARE, run_shares
from flowbench.cli.machine import end_with_launcher
from flowbench.cli.options import (
    SECONDS,
    SEED,
    Number,
    count,
    device_options,
    error_rate_option,
    licence_option,
    plugin_option,
    solver_option,
)
from flowbench.cli.output import MOST_UNSCORED, format_option, refuse_unscored, show_tables
from flowbench.cli.scorers import interval_option, options_of, reference_option, split_names, with_reference
from flowbench.errors import ConfigError, RunError
from flowbench.foreign_code import diverted
from flowbench.terminal import say

if TYPE_CHECKING:
    from flowbench.benchmarks import Suite
    from flowbench.benchmarks.sources import PictureSource

_OF_EVALUATE = ("limit", "batch_size", "seed", "steps", "images_per_prompt", "guidance", "solver", "interval", "label",
                "out")  # fmt: skip
"""Options that are keyword arguments of `benchmarks.evaluate`."""


@click.command(name="eval")
@click.argument("arguments", nargs=-1, metavar="[NAME.OPTION=VALUE]...")
@click.option(
    "--ckpt",
    metavar="NAME",
    help="shapes, a run, a checkpoint, a LoRA, a diffusers folder or a hub id; or "
    "an evaluation's folder, to score its pictures.",
)
@click.option("--images", metavar="FOLDER", help="In place of --ckpt: pictures that somebody else has made.")
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME[,NAME]",
    help="`flowbench list suites` shows them; or a .yaml file.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME[,NAME]",
    help="Rewards and metrics in place of the suite's own; scores that are there stay.",
)
@click.option(
    "--prompts",
    metavar="NAME|FILE",
    help="Prompts in place of the suite's own: a set (`flowbench list prompts`) or a .txt, .csv, .tsv or .jsonl.",
)
@click.option(
    "--guidance", type=Number(0, bounds.GUIDANCE), help="Default: the run's own, or what suits the model. 1: none."
)
@click.option("--steps", type=count(bounds.DENOISING_STEPS), help="Denoising steps. Default: the suite's.")
@solver_option
@click.option("--images-per-prompt", type=count(bounds.AT_ONCE), metavar="N", help="Default: the suite's.")
@click.option("--limit", type=count(), metavar="N", help="Only this many prompts, taken in turns from the tags.")
@click.option(
    "--stage", "stages", multiple=True, metavar="NAME[,NAME]", help="Only these of generate, score, summarise."
)
@click.option(
    "--processes",
    type=count(bounds.PROCESSES),
    default=1,
    show_default=True,
    metavar="N",
    help="Make and score the pictures in N processes.",
)
@click.option(
    "--shard", type=SHARE, metavar="I/N", help="The I-th of N shares of one --stage, on machines that share the folder."
)
@click.option("--out", metavar="FOLDER", help="Where to keep it. Default: the run folder, or runs/eval-NAME.")
@click.option("--batch-size", type=count(bounds.AT_ONCE), default=16, show_default=True, help="Pictures at a time.")
@click.option("--timeout", type=SECONDS, metavar="SECONDS", help="For one call of a reward.")
@click.option("--seed", type=SEED, help="Seed of all pictures. Default: 0.")
@click.option("--label", metavar="TEXT", help="Its name in tables.")
@reference_option
@interval_option
@error_rate_option(default=MOST_UNSCORED, show_default=True)
@format_option
@device_options
@licence_option
@plugin_option
def evaluate(
    arguments: tuple[str, ...], suites: tuple[str, ...], metrics: tuple[str, ...], stages: tuple[str, ...],
    processes: int, style: str | None, max_error_rate: float, **settings: Any,
) -> None:  # fmt: skip
    """Evaluate a model on suites.

    Or pictures that somebody else has made (--images). Options of a reward or metric follow as NAME.OPTION=VALUE. Can
    be killed and started again: pictures and scores that are there are not made again.
    """
    from flowbench.benchmarks.execution import STAGES
    from flowbench.benchmarks.sources import PictureSource
    from flowbench.evals import load_results
    from flowbench.reports.tables.evaluations import summary_table

    end_with_launcher()
    asked = split_names(stages) or list(STAGES)
    source = PictureSource.find(settings["ckpt"], settings["images"])
    names = split_names(suites) or source.suites()
    if not names:
        raise ConfigError("--suite names no suite. `flowbench list suites` shows them.")
    chosen = [_suite(name, settings, metrics, arguments) for name in names]
    if processes > 1 and settings["shard"] is None:
        for stage in [stage for stage in STAGES[:2] if stage in asked]:
            run_shares(click.get_current_context().obj, stage, processes, settings["device"])
        asked = [stage for stage in asked if stage != "generate"]
    source.load(settings["device"] or "auto", settings["dtype"] or "float32")
    folders = [_evaluated(source, suite, asked, settings) for suite in chosen]
    if "summarise" not in asked:
        for folder in folders:
            _say_pictures(folder, asked)
        return
    results = [load_results(folder) for folder in folders]
    show_tables([summary_table(each) for each in results], [each.summary.as_json() for each in results], style=style)
    for each in results:
        for name, reason in each.not_run.items() if style == "csv" else ():  # the one format without the table's notes
            say(f"not run: {name}: {reason}", err=True)
        say(f"evaluation: {each.folder}", err=True)
    for each in results:
        refuse_unscored(each, max_error_rate)


def _suite(name: str, settings: dict[str, Any], metrics: Sequence[str], arguments: Sequence[str]) -> Suite:
    """The suite with the prompts, scorers and options that the command line asks for."""
    from flowbench import benchmarks, prompts
    from flowbench.benchmarks.scorers import find

    if name not in benchmarks.registry and name in prompts.prompt_sets:
        raise ConfigError(
            f"'{name}' is a set of prompts without a suite: no judge of its own is here. Take a suite's protocol with "
            f"its prompts: --suite drawbench --prompts {name} --metric NAME"
        )
    suite = benchmarks.find(name)
    if settings["prompts"]:
        suite = suite.with_prompts(settings["prompts"])
    if metrics:
        suite = suite.with_scorers(split_names(metrics))
    suite = with_reference(suite, settings["reference"])
    scorers = {scorer: find(scorer, suite.options.get(scorer)) for scorer in suite.scorers}
    options = options_of(scorers, arguments, {"device": settings["device"]})  # the dtype is the model's alone
    for scorer, found in scorers.items():
        replace(found, options=options[scorer]).check()
    return replace(suite, options=options)


def _evaluated(source: PictureSource, suite: Suite, stages: Sequence[str], settings: dict[str, Any]) -> Path:
    from flowbench import benchmarks
    from flowbench.benchmarks.execution import WHOLE
    from flowbench.cli.progress import evaluation_progress

    share = settings["shard"] or WHOLE
    shares_stderr = LAUNCHER in os.environ or sys.stderr.isatty()
    with diverted(), evaluation_progress(suite.name, quiet=share.index > 0 and shares_stderr) as progress:
        execution = benchmarks.Execution(stages, share, settings["timeout"], progress)
        chosen = source.settings({name: settings[name] for name in _OF_EVALUATE})
        folder = benchmarks.evaluate(source, suite, execution=execution, **{**chosen, "seed": chosen["seed"] or 0})
    if share is WHOLE and suite.resolution and source.resolution not in (None, suite.resolution):
        reported = f"note: {suite.name} is reported at {suite.resolution} pixels"
        say(f"{reported}; these pictures have {source.resolution}.", err=True)
    return folder


def _say_pictures(folder: Path, stages: Sequence[str]) -> None:
    """After stages that print no table, how many pictures are there; a process that `run_shares` started leaves it to
    the one that started it. Raises RunError when they were to be scored and none is there."""
    from flowbench.evals.evaluation import read_card
    from flowbench.layout import EvaluationFolder

    agreed, images = read_card(folder).must_agree, EvaluationFolder(folder).images
    made, total = len(list(images.glob("*.png"))), agreed["num_prompts"] * agreed["images_per_prompt"]
    if "score" in stages and not made:
        raise RunError(f"{folder}: nothing to score: 0 of {total} pictures are made. Run the stage generate first.")
    if LAUNCHER not in os.environ:
        say(f"evaluation: {folder} ({made} of {total} pictures are there)", err=True)
