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
    scorers = _named(rewards, metrics)
    options = _options(scorers, arguments, {flag: settings.pop(flag) for flag in ("device", "dtype")})
    reference = settings.pop("reference")
    _check_reference(scorers, reference)
    given = _given(source, settings.pop("prompts"))
    name = Path(source).resolve().stem
    settings["label"] = settings["label"] or name
    settings["out"] = settings["out"] or Path("runs") / f"score-{name}"
    settings["vocabulary"] = settings["vocabulary"] or "coco80"
    _prepare(scorers, options, settings["vocabulary"])
    results = [
        _measured(given, each, options[each], settings, reference)
        if kind == "metric"
        else _scored(given, each, options[each], settings)
        for each, kind in scorers.items()
    ]
    from flowbench.evals.tables import scores_table

    show_tables([scores_table(settings["label"], results)], [each.summary for each in results], style=style)
    for each in results:
        click.echo(f"scores: {each.folder}", err=True)
    for each in results:
        refuse_unscored(each.summary["suite"], each.summary, max_error_rate)


def _named(rewards: Sequence[str], metrics: Sequence[str]) -> dict[str, str]:
    """Name -> "reward" or "metric", each once, in order. Raises UnknownName for one that is not registered."""
    from flowbench.metrics import registry as metric_registry
    from flowbench.rewards import registry as reward_registry

    found: dict[str, str] = {}
    for kind, words, registry in (("reward", rewards, reward_registry), ("metric", metrics, metric_registry)):
        for name in [name.strip() for word in words for name in word.split(",") if name.strip()]:
            registry.get(name)
            if found.setdefault(name, kind) != kind:
                raise ConfigError(f"'{name}' is a reward and a metric. Score it in two calls.")
    if not found:
        raise ConfigError("nothing to score with: give --reward NAME or --metric NAME (`flowbench list` shows them).")
    return found


def _options(
    scorers: Mapping[str, str], arguments: Sequence[str], flags: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Options by scorer: `--device` and `--dtype` for those that take them, then NAME.OPTION=VALUE."""
    import yaml

    from flowbench import metrics, rewards

    registries = {"reward": rewards.registry, "metric": metrics.registry}
    options = {}
    for name, kind in scorers.items():
        takes = inspect.signature(registries[kind].get(name)).parameters
        options[name] = {flag: value for flag, value in flags.items() if value is not None and flag in takes}
    for argument in arguments:
        key, separator, value = argument.partition("=")
        name, dot, option = key.rpartition(".")  # a reward may have a dot in its name, an option has none
        if not separator or not dot:
            raise ConfigError(f"'{argument}': write NAME.OPTION=VALUE, for example geneval.extra_price=0.4.")
        if name not in options:
            raise ConfigError(f"'{argument}': '{name}' is not in use. In use: {', '.join(options)}.")
        try:
            options[name][option] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"'{argument}': '{value}' is not a YAML value.") from None
    for name, kind in scorers.items():
        if kind == "metric":
            metrics.check(name, options[name])
        else:
            rewards.check(name, {name: options[name]})
    return options


def _prepare(scorers: Mapping[str, str], options: Mapping[str, dict[str, Any]], vocabulary: str) -> None:
    """Licences, devices and weights of all scorers, before the first of them has worked for hours."""
    from flowbench import assets, metrics, rewards
    from flowbench.rewards.licences import require_accepted
    from flowbench.rewards.networks import place

    needs: dict[str, None] = {}
    for name, kind in scorers.items():
        card = (metrics.registry if kind == "metric" else rewards.registry).card(name)
        if card is not None:
            require_accepted(card)
        place(options[name].get("device", "auto"), options[name].get("dtype", "float32"))
        of_metric = card.needs if card is not None else ()
        found = of_metric if kind == "metric" else rewards.needed_weights(name, options[name], vocabulary)
        needs |= dict.fromkeys(found)
    for need in needs:
        assets.folder(need)


def _given(source: str, prompts: str | None) -> list[Given]:
    from flowbench.benchmarks import given
    from flowbench.prompts import files

    return given.read(source, files.read(Path(prompts)) if prompts else None)


def _scored(given: Sequence[Given], name: str, options: Mapping[str, Any], settings: Mapping[str, Any]) -> Results:
    from flowbench.benchmarks.scoring import Running, score_pictures
    from flowbench.cli.progress import evaluation_progress
    from flowbench.evals import load_results

    settings = dict(settings)
    batch_size, timeout = settings.pop("batch_size"), settings.pop("timeout")
    with evaluation_progress(name) as progress:
        running = Running(batch_size, timeout, lambda done, total: progress("score", done, total))
        folder = score_pictures(given, name, options=options, running=running, **settings)
    return load_results(folder)


def _measured(
    given: Sequence[Given], name: str, options: Mapping[str, Any], settings: Mapping[str, Any], reference: str | None
) -> Results:
    from flowbench.benchmarks.scoring import measure_pictures
    from flowbench.evals import load_results

    others = _given(reference, None) if reference is not None and _compares(name) else None
    out, label = settings["out"], settings["label"]
    return load_results(measure_pictures(given, name, out=out, label=label, options=options, reference=others))


def _check_reference(scorers: Mapping[str, str], reference: str | None) -> None:
    """Before anything is scored: a reference where one is needed, and none where nobody looks at it."""
    comparing = [name for name, kind in scorers.items() if kind == "metric" and _compares(name)]
    if comparing and reference is None:
        raise ConfigError(f"metric '{comparing[0]}' compares with other pictures. Give them: --reference FOLDER.")
    if reference is not None and not comparing:
        raise ConfigError("--reference has no use here: only fid, kid and cmmd compare with other pictures.")


def _compares(metric: str) -> bool:
    from flowbench.metrics import registry

    return bool(registry.get(metric).level == "set")
