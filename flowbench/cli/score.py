"""`flowbench score`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowbench.cli.options import device_options, error_rate_option, licence_option, plugin_option
from flowbench.cli.output import MOST_UNSCORED, format_option, refuse_unscored, show_tables
from flowbench.cli.scorers import options_of, split_names
from flowbench.errors import ConfigError

if TYPE_CHECKING:
    from flowbench.benchmarks.existing import ExistingPicture
    from flowbench.benchmarks.scorers import Scorer
    from flowbench.evals import Results


@click.command()
@click.argument("source")
@click.argument("arguments", nargs=-1, metavar="[NAME.OPTION=VALUE]...")
@click.option("--reward", "rewards", multiple=True, metavar="NAME[,NAME]", help="`flowbench list rewards` shows them.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME[,NAME]", help="`flowbench list metrics` shows them.")
@click.option("--reference", metavar="FOLDER", help="The pictures that fid, kid and cmmd compare with.")
@click.option(
    "--prompts", metavar="FILE", help="Their prompts, in turn (.txt, .csv, .jsonl), for a folder of pictures."
)
@click.option("--vocabulary", metavar="NAME", help="The object names of the prompts. Default: coco80.")
@click.option("--out", metavar="FOLDER", help="Where to keep the scores. Default: runs/score-NAME.")
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Pictures at a time.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="For one call of a reward.")
@click.option("--label", metavar="TEXT", help="Its name in tables.")
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

    SOURCE is a folder of pictures, one in GenEval's layout, or a table (.csv, .jsonl) of pictures and prompts. Options
    of a reward or metric follow as NAME.OPTION=VALUE. Can be killed and started again.
    """
    vocabulary = settings.pop("vocabulary") or "coco80"
    named = _named(rewards, metrics, vocabulary)
    options = options_of(named, arguments, {flag: settings.pop(flag) for flag in ("device", "dtype")})
    scorers = [replace(scorer, options=options[name]) for name, scorer in named.items()]
    for each in scorers:
        each.check()
    reference = settings.pop("reference")
    _check_reference(scorers, reference)
    given = _given(source, settings.pop("prompts"))
    name = Path(source).resolve().stem
    settings["label"] = settings["label"] or name
    settings["out"] = settings["out"] or Path("runs") / f"score-{name}"
    for each in scorers:  # before the first of them has worked for hours
        each.prepare()
    results = [
        _measured(given, each, settings, reference) if each.kind == "metric" else _scored(given, each, settings)
        for each in scorers
    ]
    from flowbench.reports.tables.evaluations import scores_table

    show_tables([scores_table(settings["label"], results)], [found.summary for found in results], style=style)
    for found in results:
        click.echo(f"scores: {found.folder}", err=True)
    for found in results:
        refuse_unscored(found.summary["suite"], found.summary, max_error_rate)


def _named(rewards: Sequence[str], metrics: Sequence[str], vocabulary: str) -> dict[str, Scorer]:
    """Each named one once, in order. Raises UnknownName for one that is not registered."""
    from flowbench.benchmarks.scorers import Scorer
    from flowbench.metrics import registry as metric_registry
    from flowbench.rewards import registry as reward_registry

    found: dict[str, Scorer] = {}
    for kind, words, registry in (("reward", rewards, reward_registry), ("metric", metrics, metric_registry)):
        for name in split_names(words):
            registry.get(name)
            if found.setdefault(name, Scorer(name, kind, {}, vocabulary)).kind != kind:  # type: ignore[arg-type]
                raise ConfigError(f"'{name}' is a reward and a metric. Score it in two calls.")
    if not found:
        raise ConfigError("nothing to score with: give --reward NAME or --metric NAME (`flowbench list` shows them).")
    return found


def _given(source: str, prompts: str | None) -> list[ExistingPicture]:
    from flowbench.benchmarks import existing
    from flowbench.prompts import files

    return existing.read(source, files.read(Path(prompts)) if prompts else None)


def _scored(given: Sequence[ExistingPicture], scorer: Scorer, settings: Mapping[str, Any]) -> Results:
    from flowbench.benchmarks.scoring import Running, score_pictures
    from flowbench.cli.progress import evaluation_progress
    from flowbench.evals import load_results

    where = {"out": settings["out"], "label": settings["label"], "vocabulary": scorer.vocabulary}
    with evaluation_progress(scorer.name) as progress:
        told = partial(progress, scorer.name)
        running = Running(settings["batch_size"], settings["timeout"], told)
        folder = score_pictures(given, scorer.name, options=scorer.options, running=running, **where)
    return load_results(folder)


def _measured(
    given: Sequence[ExistingPicture], scorer: Scorer, settings: Mapping[str, Any], reference: str | None
) -> Results:
    from flowbench.benchmarks.scoring import measure_pictures
    from flowbench.evals import load_results

    others = _given(reference, None) if reference is not None and scorer.level == "set" else None
    out, label = settings["out"], settings["label"]
    folder = measure_pictures(given, scorer.name, out=out, label=label, options=scorer.options, reference=others)
    return load_results(folder)


def _check_reference(scorers: Sequence[Scorer], reference: str | None) -> None:
    """Before anything is scored: a reference where one is needed, and none where nobody looks at it."""
    comparing = [scorer.name for scorer in scorers if scorer.level == "set"]
    if comparing and reference is None:
        raise ConfigError(f"metric '{comparing[0]}' compares with other pictures. Give them: --reference FOLDER.")
    if reference is not None and not comparing:
        raise ConfigError("--reference has no use here: only fid, kid and cmmd compare with other pictures.")
