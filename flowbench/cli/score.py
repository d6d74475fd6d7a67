"""`flowbench score`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowbench.cli.options import device_options, error_rate_option, licence_option, plugin_option
from flowbench.cli.output import MOST_UNSCORED, format_option, refuse_unscored, show_tables
from flowbench.errors import ConfigError

if TYPE_CHECKING:
    from flowbench.benchmarks.given import Given
    from flowbench.evals import Results


@click.command()
@click.argument("source")
@click.argument("arguments", nargs=-1, metavar="[NAME.OPTION=VALUE]...")
@click.option(
    "--reward", "rewards", multiple=True, required=True, metavar="NAME[,NAME]", help="`flowbench list rewards`."
)
@click.option(
    "--prompts", metavar="FILE", help="Their prompts, in turn (.txt, .csv, .jsonl), for a folder of pictures."
)
@click.option("--vocabulary", metavar="NAME", help="The object names of the prompts. Default: coco80.")
@click.option("--out", metavar="FOLDER", help="Where to keep the scores. Default: runs/score-NAME.")
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Pictures at a time.")
@click.option("--label", metavar="TEXT", help="Its name in tables.")
@error_rate_option(default=MOST_UNSCORED, show_default=True)
@format_option
@device_options
@licence_option
@plugin_option
def score(
    source: str, arguments: tuple[str, ...], rewards: tuple[str, ...], style: str | None, max_error_rate: float,
    plugins: tuple[str, ...], **settings: Any,
) -> None:  # fmt: skip
    """Score pictures that are there already.

    SOURCE is a folder of pictures, one in GenEval's layout, or a table (.csv, .jsonl) of pictures and prompts. Options
    of a reward follow as NAME.OPTION=VALUE. Can be killed and started again.
    """
    names = _names(rewards)
    options = _options(names, arguments, {flag: settings.pop(flag) for flag in ("device", "dtype")})
    given = _given(source, settings.pop("prompts"))
    name = Path(source).resolve().stem
    settings["label"] = settings["label"] or name
    settings["out"] = settings["out"] or Path("runs") / f"score-{name}"
    settings["vocabulary"] = settings["vocabulary"] or "coco80"
    results = [_scored(given, reward, options.get(reward, {}), settings) for reward in names]
    from flowbench.evals.tables import scores_table

    show_tables([scores_table(settings["label"], results)], [each.summary for each in results], style=style)
    for each in results:
        click.echo(f"scores: {each.folder}", err=True)
    for each in results:
        refuse_unscored(each.summary["suite"], each.summary, max_error_rate)


def _names(rewards: Sequence[str]) -> list[str]:
    """The rewards asked for, each once. Raises UnknownName for one that is not registered."""
    from flowbench.rewards import registry

    names = list(dict.fromkeys(name.strip() for word in rewards for name in word.split(",") if name.strip()))
    if not names:
        raise ConfigError("--reward names no reward. `flowbench list rewards` shows them.")
    for name in names:
        registry.get(name)
    return names


def _options(names: Sequence[str], arguments: Sequence[str], flags: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Options by reward: `--device` and `--dtype` for those that take them, then NAME.OPTION=VALUE."""
    import yaml

    from flowbench.rewards import check, registry

    options = {}
    for name in names:
        takes = inspect.signature(registry.get(name)).parameters
        options[name] = {flag: value for flag, value in flags.items() if value is not None and flag in takes}
    for argument in arguments:
        key, separator, value = argument.partition("=")
        name, dot, option = key.rpartition(".")  # a reward may have a dot in its name, an option has none
        if not separator or not dot:
            raise ConfigError(f"'{argument}': write NAME.OPTION=VALUE, for example geneval.extra_price=0.4.")
        options.setdefault(name, {})[option] = yaml.safe_load(value)
    check(dict.fromkeys(names, 1.0), options)
    return options


def _given(source: str, prompts: str | None) -> list[Given]:
    from flowbench.benchmarks import given
    from flowbench.prompts import files

    return given.read(source, files.read(Path(prompts)) if prompts else None)


def _scored(given: Sequence[Given], name: str, options: Mapping[str, Any], settings: Mapping[str, Any]) -> Results:
    from flowbench.benchmarks.scoring import score_pictures
    from flowbench.cli.progress import evaluation_progress
    from flowbench.evals import load_results

    with evaluation_progress(name) as progress:
        folder = score_pictures(
            given, name, options=options, progress=lambda done, total: progress("score", done, total), **settings
        )
    return load_results(folder)
