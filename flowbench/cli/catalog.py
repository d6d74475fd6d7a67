"""`flowbench list` and `flowbench show`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from flowbench.cli.options import plugin_option
from flowbench.errors import ConfigError, UnknownName
from flowbench.models.built_in import BUILT_IN
from flowbench.terminal import say, show_text

if TYPE_CHECKING:
    from flowbench.registry import Registry
    from flowbench.rewards.card import Part

KINDS = ("rewards", "metrics", "objectives", "suites", "prompts", "recipes", "models")
MODELS = {
    **{name: model.about for name, model in BUILT_IN.items()},
    "OWNER/NAME": "a Stable Diffusion 3 pipeline on the hub, such as stabilityai/stable-diffusion-3.5-medium",
    "FOLDER": "a diffusers folder, a run, or a checkpoint of a run",
}


@click.command(name="list")
@click.argument("kind", type=click.Choice(KINDS), metavar="KIND")
@plugin_option
def list_names(kind: str, plugins: tuple[str, ...]) -> None:
    """List rewards, metrics, objectives, suites, prompts and the like.

    KIND is one of rewards, metrics, objectives, suites, prompts, recipes, models.
    """
    entries = _lines(kind)
    width = max(map(len, entries), default=0)
    for name, line in entries.items():
        say(f"{name:<{width}}  {line}".rstrip())


@click.command()
@click.argument("name")
@plugin_option
def show(name: str, plugins: tuple[str, ...]) -> None:
    """Show what stands behind a name.

    NAME is a reward, metric, objective, detector, suite, prompt set or recipe; where several have the name, all are
    shown.
    """
    from flowbench.registry import did_you_mean

    tables = _tables()
    found = {kind: details(name) for kind, (names, details) in tables.items() if name in names()}
    if not found:
        known = sorted({each for names, _ in tables.values() for each in names()})
        raise UnknownName(f"nothing is called '{name}'.{did_you_mean(name, known)} `flowbench list` shows the names.")
    show_text("\n\n".join(f"{kind} {name}\n{text}" for kind, text in found.items()) + "\n")


def _lines(kind: str) -> dict[str, str]:
    """Name -> a line about it, for everything of that kind."""
    from flowbench import benchmarks, metrics, prompts, rewards
    from flowbench.objective_config import objective_configs
    from flowbench.objective_presets import PRESETS
    from flowbench.recipe_files import RECIPES, recipe_names

    def of_card(registry: Registry, name: str) -> str:
        return registry.line(name) or str(_card(registry, name).get("summary", ""))

    def of_metric(name: str) -> str:
        registry = metrics.registry
        return registry.line(name) or f"per {registry.get(name).level}: {of_card(registry, name)}"

    def of_objective(name: str) -> str:
        return PRESETS[name].card.summary if name in PRESETS else of_card(objective_configs, name)

    def of_suite(name: str) -> str:
        suite = benchmarks.find(name)
        return f"{suite.split} split of {suite.prompt_set}, headline {suite.headline}, by {', '.join(suite.scorers)}"

    def of_recipe(name: str) -> str:  # the first line of its file, a comment that says what it is for
        first = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").split("\n")[0]
        return first.lstrip("# ") if first.startswith("#") else ""

    tables: dict[str, tuple[Callable[[], Iterable[str]], Callable[[str], str]]] = {
        "rewards": (rewards.registry.names, partial(of_card, rewards.registry)),
        "metrics": (metrics.registry.names, of_metric),
        "objectives": (lambda: sorted([*objective_configs.names(), *PRESETS]), of_objective),
        "suites": (benchmarks.registry.names, of_suite),
        "prompts": (
            prompts.prompt_sets.names,
            lambda name: prompts.find(name).about or f"version {prompts.find(name).version}",
        ),
        "recipes": (recipe_names, of_recipe),
        "models": (MODELS.keys, lambda name: MODELS[name]),
    }
    names, describe = tables[kind]
    entries = {}
    for name in names():
        try:
            entries[name] = describe(name)
        except ConfigError as error:  # a plugin that cannot be imported must not hide the others
            entries[name] = f"(broken: {error})"
    return entries


def _tables() -> dict[str, tuple[Callable[[], Any], Callable[[str], str]]]:
    """Kind -> (its names, the text about one of them)."""
    from flowbench import benchmarks, metrics, prompts, rewards
    from flowbench.objective_config import objective_configs
    from flowbench.objective_presets import PRESETS
    from flowbench.recipe_files import RECIPES, recipe_names
    from flowbench.rewards.geneval import detectors

    return {
        "reward": (rewards.registry.names, lambda name: _scorer_text(rewards.registry, name)),
        "metric": (metrics.registry.names, lambda name: _scorer_text(metrics.registry, name)),
        "objective": (lambda: [*objective_configs.names(), *PRESETS], _objective_text),
        "detector": (detectors.registry.names, lambda name: _fields(_card(detectors.registry, name))),
        "suite": (benchmarks.registry.names, lambda name: _fields(dataclasses.asdict(benchmarks.find(name)))),
        "prompt set": (prompts.prompt_sets.names, lambda name: _fields(prompts.describe(name))),
        "recipe": (recipe_names, lambda name: (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").rstrip()),
    }


def _card(registry: Registry, name: str) -> dict[str, Any]:
    """The card's filled fields, the usual left out; without a card, the first line of the factory's docstring."""
    card = registry.card(name)
    if card is None:
        return {"summary": (inspect.getdoc(registry.get(name)) or "").partition("\n")[0]}
    return _filled(card)


def _filled(card: Any) -> dict[str, Any]:
    """The card's filled fields, the usual left out."""
    usual = {"terms": "permissive", "rl_scale": 1.0, "rl_shift": 0.0, "version": "1"}
    fields = {each.name: getattr(card, each.name) for each in dataclasses.fields(card)}
    if fields.get("parts"):
        fields["parts"] = [_part(name, part) for name, part in fields["parts"].items()]
    return {
        key: value
        for key, value in fields.items()
        if value not in (None, "", (), {}) and key != "name" and usual.get(key) != value and not callable(value)
    }


def _part(name: str, part: Part) -> str:
    """'extras (objects a picture; lower is better)'."""
    better = "" if part.direction == "none" else f"{part.direction} is better"
    return f"{name} ({'; '.join(filter(None, (part.unit, better)))})"


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


def _objective_text(name: str) -> str:
    """Its card, its settings with their defaults, and what it logs; of a preset what it sets."""
    from flowbench.objective_config import config_of, objective_configs
    from flowbench.objective_presets import PRESETS
    from flowbench.trainer import objectives

    if name in PRESETS:
        preset = PRESETS[name]
        parts = {"objective": preset.objective, "rollout": preset.rollout}
        values = {f"{part}.{key}": value for part, keys in parts.items() for key, value in keys.items()}
        return _fields({**_filled(preset.card), **values})
    fields = config_of(name).model_fields
    settings = {f"objective.{key}": field.default for key, field in fields.items() if key != "name"}
    figures = {each.name: each.described for each in objectives.registry.get(name).figures}
    return _fields({**_card(objective_configs, name), **settings, **figures})


def _weights(asset: str) -> str:
    """An asset with its home and revision; a plugin may name what is no asset of ours."""
    from flowbench.assets import ASSETS

    found = ASSETS.get(asset)
    return asset if found is None else f"{asset} ({found.home}{f' at {found.revision[:8]}' if found.repo else ''})"


def _fields(values: dict[str, Any]) -> str:
    shown = [", ".join(map(str, each)) if isinstance(each, (list, tuple)) else each for each in values.values()]
    return "\n".join(f"  {key}: {each}" for key, each in zip(values, shown, strict=True))
