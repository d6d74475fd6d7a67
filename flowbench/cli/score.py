"""`flowbench score`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from flowbench import bounds
from flowbench.cli.options import SECONDS, count, device_options, error_rate_option, licence_option, plugin_option
from flowbench.cli.output import MOST_UNSCORED, format_option, refuse_unscored, show_tables
from flowbench.cli.scorers import interval_option, options_of, reference_option, split_names, with_reference
from flowbench.errors import ConfigError
from flowbench.foreign_code import diverted
from flowbench.terminal import say


@click.command()
@click.argument("source")
@click.argument("arguments", nargs=-1, metavar="[NAME.OPTION=VALUE]...")
@click.option("--reward", "rewards", multiple=True, metavar="NAME[,NAME]", help="`flowbench list rewards` shows them.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME[,NAME]", help="`flowbench list metrics` shows them.")
@reference_option
@click.option(
    "--prompts", metavar="FILE", help="Their prompts, in turn (.txt, .csv, .tsv, .jsonl), for a folder of pictures."
)
@click.option("--vocabulary", metavar="NAME", help="The object names of the prompts. Default: coco80.")
@click.option("--out", metavar="FOLDER", help="Where to keep the scores. Default: runs/score-NAME.")
@click.option("--batch-size", type=count(bounds.AT_ONCE), default=16, show_default=True, help="Pictures at a time.")
@click.option("--timeout", type=SECONDS, metavar="SECONDS", help="For one call of a reward.")
@click.option("--label", metavar="TEXT", help="Its name in tables.")
@interval_option
@error_rate_option(default=MOST_UNSCORED, show_default=True)
@format_option
@device_options
@licence_option
@plugin_option
def score(
    source: str, arguments: tuple[str, ...], rewards: tuple[str, ...], metrics: tuple[str, ...], style: str | None,
    max_error_rate: float, plugins: tuple[str, ...], **settings: Any,
) -> None:  # fmt: skip
    """Score pictures that are there already.

    SOURCE is a folder of pictures, one in GenEval's layout, or a table (.csv, .tsv, .jsonl) of pictures and prompts.
    Options of a reward or metric follow as NAME.OPTION=VALUE. Can be killed and started again.
    """
    from flowbench import benchmarks
    from flowbench.benchmarks import existing
    from flowbench.benchmarks.scorers import find
    from flowbench.benchmarks.suite import REAL_WORLD
    from flowbench.benchmarks.suites.existing_pictures import PICTURES
    from flowbench.cli.progress import evaluation_progress
    from flowbench.evals import load_results
    from flowbench.metrics import registry as metrics_known
    from flowbench.prompts import files
    from flowbench.reports.tables.evaluations import scores_table
    from flowbench.rewards import registry as rewards_known

    for name in split_names(rewards):
        rewards_known.get(name)
    for name in split_names(metrics):
        metrics_known.get(name)
    names = split_names([*rewards, *metrics])
    if not names:
        raise ConfigError("nothing to score with: give --reward NAME or --metric NAME (`flowbench list` shows them).")
    suite = with_reference(PICTURES.with_scorers(names), settings["reference"])
    vocabulary = settings["vocabulary"] or REAL_WORLD
    named = {name: find(name, vocabulary=vocabulary) for name in suite.scorers}
    options = options_of(named, arguments, {flag: settings[flag] for flag in ("device", "dtype")})
    scorers = [replace(scorer, options=options[name]) for name, scorer in named.items()]
    for scorer in scorers:
        scorer.check()
    prompts = files.read(Path(settings["prompts"])) if settings["prompts"] else None
    pictures = benchmarks.ExistingSource(existing.read(source, prompts), Path(source).resolve().stem)
    for scorer in scorers:  # before the first of them has worked for hours
        scorer.prepare()
    with diverted(), evaluation_progress(pictures.name) as progress:
        folder = benchmarks.evaluate(
            pictures,
            replace(suite, options=options, vocabulary=vocabulary),
            out=settings["out"] or Path("runs") / f"score-{pictures.name}",
            batch_size=settings["batch_size"],
            label=settings["label"],
            interval=settings["interval"],
            execution=benchmarks.Execution(timeout=settings["timeout"], progress=progress),
        )
    results = load_results(folder)
    show_tables([scores_table(results)], [results.summary.as_json()], style=style)
    say(f"scores: {folder}", err=True)
    refuse_unscored(results, max_error_rate)
