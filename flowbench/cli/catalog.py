"""`flowbench list` and `flowbench show`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from flowbench.cli.options import plugin_option
from flowbench.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from flowbench.registry import Registry

KINDS = ("rewards", "metrics", "suites", "prompts", "recipes", "models")


@click.command(name="list")
@click.argument("kind", type=click.Choice(KINDS), metavar="KIND")
@plugin_option
def list_names(kind: str, plugins: tuple[str, ...]) -> None:
    """List rewards, metrics, suites, prompts, recipes or models.

    KIND is one of these six words.
    """
    lines = {
        "rewards": _rewards,
        "metrics": _metrics,
        "suites": _suites,
        "prompts": _prompts,
        "recipes": _recipes,
        "models": _models,
    }
    entries = lines[kind]()
    width = max(map(len, entries), default=0)
    for name, line in entries.items():
        click.echo(f"{name:<{width}}  {line}".rstrip())


@click.command()
@click.argument("name")
@plugin_option
def show(name: str, plugins: tuple[str, ...]) -> None:
    """Show what stands behind a name.

    NAME is a reward, metric, detector, suite, prompt set or recipe; where several have the name, all are shown.
    """
    from flowbench.registry import did_you_mean

    tables = _tables()
    found = {kind: details(name) for kind, (names, details) in tables.items() if name in names()}
    if not found:
        known = sorted({each for names, _ in tables.values() for each in names()})
        raise UnknownName(f"nothing is called '{name}'.{did_you_mean(name, known)} `flowbench list` shows the names.")
    click.echo("\n\n".join(f"{kind} {name}\n{text}" for kind, text in found.items()))


def _rewards() -> dict[str, str]:
    from flowbench.rewards import registry

    def line(name: str) -> str:
        return registry.line(name) or _card(registry, name).get("summary", "")

    return {name: _line(line, name) for name in registry.names()}


def _metrics() -> dict[str, str]:
    from flowbench.metrics import registry

    def line(name: str) -> str:
        return registry.line(name) or f"per {registry.get(name).level}: {_card(registry, name).get('summary', '')}"

    return {name: _line(line, name) for name in registry.names()}


def _suites() -> dict[str, str]:
    from flowbench import benchmarks

    def line(name: str) -> str:
        suite = benchmarks.find(name)
        return f"{suite.split} split of {suite.prompt_set}, headline {suite.headline}, by {', '.join(suite.scorers)}"

    return {name: _line(line, name) for name in benchmarks.registry.names()}


def _prompts() -> dict[str, str]:
    from flowbench import prompts

    def line(name: str) -> str:
        found = prompts.find(name)
        return found.about or f"version {found.version}"

    return {name: _line(line, name) for name in prompts.prompt_sets.names()}


def _line(describe: Callable[[str], str], name: str) -> str:
    """What `describe` says; of a plugin that cannot be imported, that and why: it must not hide the others."""
    try:
        return describe(name)
    except ConfigError as error:
        return f"(broken: {error})"


def _recipes() -> dict[str, str]:
    """Each recipe with the first line of its file, a comment that says what it is for."""
    from flowbench.config import RECIPES, recipe_names

    firsts = {name: (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").split("\n")[0] for name in recipe_names()}
    return {name: first.lstrip("# ") if first.startswith("#") else "" for name, first in firsts.items()}


def _models() -> dict[str, str]:
    return {
        "shapes": "the built-in model: 32 px pictures of flat shapes, made for laptops",
        "OWNER/NAME": "a Stable Diffusion 3 pipeline on the hub, such as stabilityai/stable-diffusion-3.5-medium",
        "FOLDER": "a diffusers folder, a run, or a checkpoint of a run",
    }


def _tables() -> dict[str, tuple[Callable[[], Any], Callable[[str], str]]]:
    """Kind -> (its names, the text about one of them)."""
    from flowbench import benchmarks, metrics, prompts, rewards
    from flowbench.config import recipe_names
    from flowbench.rewards.geneval import detectors

    return {
        "reward": (rewards.registry.names, lambda name: _scorer_text(rewards.registry, name)),
        "metric": (metrics.registry.names, lambda name: _scorer_text(metrics.registry, name)),
        "detector": (detectors.registry.names, lambda name: _fields(_card(detectors.registry, name))),
        "suite": (benchmarks.registry.names, lambda name: _fields(dataclasses.asdict(benchmarks.find(name)))),
        "prompt set": (prompts.prompt_sets.names, _prompt_set_text),
        "recipe": (recipe_names, _recipe_text),
    }


def _card(registry: Registry, name: str) -> dict[str, Any]:
    """The card's filled fields, the usual left out; without a card, the first line of the factory's docstring."""
    card = registry.card(name)
    if card is None:
        return {"summary": (inspect.getdoc(registry.get(name)) or "").partition("\n")[0]}
    usual = {"terms": "permissive", "rl_scale": 1.0, "rl_shift": 0.0, "version": "1"}
    return {
        key: value
        for key, value in dataclasses.asdict(card).items()
        if value not in (None, "", ()) and key != "name" and usual.get(key) != value and not callable(value)
    }


def _scorer_text(registry: Registry, name: str) -> str:
    factory = registry.get(name)
    parameters = inspect.signature(factory).parameters.values()
    options = [str(each.replace(annotation=each.empty)) for each in parameters if each.name != "vocabulary"]
    level = {"level": f"one number per {factory.level}"} if hasattr(factory, "level") else {}
    card = _card(registry, name)
    needs = factory.needs({}, "coco80") if hasattr(factory, "needs") else card.get("needs", ())
    if needs:
        card["needs"] = [_weights(need) for need in needs]
    return _fields({**card, **level, "options": ", ".join(options) or "none"})


def _weights(asset: str) -> str:
    """An asset with its home and revision; a plugin may name what is no asset of ours."""
    from flowbench.assets import ASSETS

    found = ASSETS.get(asset)
    return asset if found is None else f"{asset} ({found.home}{f' at {found.revision[:8]}' if found.repo else ''})"


def _prompt_set_text(name: str) -> str:
    from flowbench import prompts

    return _fields(prompts.describe(name))


def _recipe_text(name: str) -> str:
    from flowbench.config import RECIPES

    return (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").rstrip()


def _fields(values: dict[str, Any]) -> str:
    return "\n".join(f"  {key}: {_plain(value)}" for key, value in values.items())


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
