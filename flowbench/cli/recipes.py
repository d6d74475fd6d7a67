"""From what a command line says to one resolved training configuration. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench.errors import ConfigError, ModelError, UnknownName
from flowbench.models.built_in import BUILT_IN, DEFAULT
from flowbench.registry import did_you_mean

if TYPE_CHECKING:
    from flowbench.config import TrainConfig

FLAGS = {
    "model": "model.name",
    "device": "model.device",
    "dtype": "model.dtype",
    "prompts": "prompts.name",
    "max_error_rate": "reward.max_error_rate",
    "data": "data",
    "steps": "steps",
    "seed": "seed",
    "out": "out",
}
"""Command-line flag -> the setting that it stands for."""


def split_arguments(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The recipe (or YAML file), if one is named, and the `key=value` overrides. Two recipes: ConfigError."""
    names = [argument for argument in arguments if "=" not in argument]
    overrides = [argument for argument in arguments if "=" in argument]
    if len(names) > 1:
        raise ConfigError(f"two recipes, '{names[0]}' and '{names[1]}': name one, and write settings as key=value.")
    return (names[0] if names else None), overrides


def resolve(
    recipe: str | None,
    overrides: Sequence[str],
    *,
    rewards: Sequence[str],
    flags: Mapping[str, Any],
    say: Callable[[str], None],
) -> TrainConfig:
    """The recipe (the model's own when none is named), then the flags that are not None, then the overrides.

    `say` hears when no recipe has the objective that is asked for, so that its defaults stand in.
    """
    from flowbench.config import load_config, read_yaml

    objective = flags.get("objective")
    chosen = recipe or recipe_of(flags.get("model") or DEFAULT, objective)
    tree = read_yaml(chosen)
    if objective is not None and _use_objective(tree, objective, chosen):
        say(f"note: {chosen} with the default settings of objective {objective} in place of its own")
    if flags.get("prompts") is not None:
        _section(tree, "prompts").pop("tag_weights", None)  # they name the tags of the recipe's own prompts
    for flag, key in FLAGS.items():
        if flags.get(flag) is not None:
            *parents, last = key.split(".")
            section = _section(tree, parents[0]) if parents else tree
            section[last] = flags[flag]
    if flags.get("data") is not None:
        _learn_from_file(tree, rewards)
    if rewards:
        section, spec = _section(tree, "reward"), parse_rewards(rewards)
        kept = {spec} if isinstance(spec, str) else set(spec)  # the recipe's options of rewards still in use stay
        options = {name: value for name, value in (section.get("options") or {}).items() if name in kept}
        section.update(name=spec, options=options)
        if section.pop("schedule", None):
            say(f"note: --reward names the rewards anew, and reward.schedule of {chosen} is left out")
        _drop_trained_judges(_section(tree, "monitor"), kept)
    config = load_config(tree, overrides)
    check_names(config)
    return config


def resume_config(folder: str, overrides: Sequence[str]) -> TrainConfig:
    """The configuration of the run in `folder`, changed by `overrides`. Raises RunError when no run is there."""
    from flowbench.config import load_config
    from flowbench.trainer.runs import stored_config

    if any(override.partition("=")[0].strip() == "out" for override in overrides):
        raise ConfigError(f"--resume goes on in {folder}: leave out 'out', or copy the folder and resume the copy.")
    config = load_config(stored_config(folder).model_dump(mode="json"), overrides)
    try:
        check_names(config)
    except UnknownName as error:
        raise UnknownName(f"{error} If it came from a plugin file, give it again: --plugin FILE.") from None
    return config


def default_recipe(model: str) -> str:
    """The recipe that a model asks for. A hub id is not looked up: it gets that of the family which it is taken for."""
    from flowbench.models.families import UNSEEN
    from flowbench.models.settings import ModelSettings

    if model in BUILT_IN:
        return ModelSettings.read(BUILT_IN[model].folder, model).default_recipe
    folder = Path(model).expanduser()
    if folder.is_dir() and not (folder / "model_index.json").is_file():
        what = "a run: go on with --resume, or give its base" if (folder / "config.yaml").is_file() else "no diffusers"
        raise ModelError(f"--model {model}: the folder holds {what} model.")
    if not folder.is_dir() and "/" not in model:
        guess, known = did_you_mean(model, BUILT_IN), ", ".join(f"'{name}'" for name in BUILT_IN)
        raise ModelError(f"unknown model '{model}'.{guess} Give {known}, a diffusers folder, or a hub id owner/name.")
    return ModelSettings.read(folder, model).default_recipe if folder.is_dir() else UNSEEN.default_recipe


def recipe_of(model: str, objective: str | None) -> str:
    """The model's recipe for the objective (shapes-nft, sd35-geneval-nft); its default recipe when there is none."""
    from flowbench.objective_presets import recipe_end
    from flowbench.recipe_files import recipe_names

    default = default_recipe(model)
    ends = [] if objective is None else [f"{stem}-{recipe_end(objective)}" for stem in (default, default.split("-")[0])]
    return next((name for name in ends if name in recipe_names()), default)


def parse_rewards(words: Sequence[str]) -> str | dict[str, float]:
    """`["geneval"]` -> "geneval"; `["geneval=1,jpeg=0.1"]`, or the parts one by one, -> a mapping to weights."""
    parts = [part.strip() for word in words for part in word.split(",") if part.strip()]
    if len(parts) == 1 and "=" not in parts[0]:
        return parts[0]
    weights: dict[str, float] = {}
    for part in parts:
        name, separator, weight = (piece.strip() for piece in part.partition("="))
        if name in weights:
            raise ConfigError(f"--reward names '{name}' twice. Name each reward once.")
        try:
            weights[name] = float(weight) if separator else 1.0
        except ValueError:
            raise ConfigError(f"--reward {part}: '{weight}' is no number. Write name=weight, as in jpeg=0.1.") from None
    if not weights:
        raise ConfigError("--reward names no reward. `flowbench list rewards` shows them.")
    return weights


def check_names(config: TrainConfig) -> None:
    """Refuse rewards and prompt sets that do not exist, before anything heavy is imported."""
    from flowbench import prompts
    from flowbench.rewards.catalog import registry

    name = config.reward.name
    for reward in [name] if isinstance(name, str) else name:
        if reward not in registry:
            registry.get(reward)
    for judge in config.monitor.named:
        if judge not in registry and judge.partition("/")[0] not in registry:
            registry.get(judge.partition("/")[0])
    try:
        prompts.find(config.prompts.name)
    except UnknownName as error:
        raise UnknownName(f"{error} Or give a file of prompts (.txt, .csv or .jsonl): --prompts FILE.") from None


def _use_objective(tree: dict[str, Any], name: str, recipe: str) -> bool:
    """Put the objective's defaults and its kind of rollout in the place of the recipe's; False when it has it already.

    The reference's own guidance goes, too: a recipe chooses it together with its objective's KL weight.
    Raises UnknownName.
    """
    from flowbench.config import DEFAULT, config_of
    from flowbench.objective_config import ObjectiveConfig
    from flowbench.objective_presets import preset_of, recipe_end

    preset = preset_of(name)
    if preset is not None and recipe.endswith(f"-{recipe_end(name)}"):
        return False
    if preset is not None:
        tree["objective"] = dict(preset.objective)
        _section(tree, "rollout").update({**ObjectiveConfig.default_rollout, **preset.rollout})
    else:
        kind, section = config_of(name), _section(tree, "objective")
        if section.get("name", DEFAULT) == name:
            return False
        tree["objective"] = {"name": name}
        _section(tree, "rollout").update(kind.default_rollout)
    _section(tree, "adapter")["reference_guidance"] = None
    return True


def _learn_from_file(tree: dict[str, Any], rewards: Sequence[str]) -> None:
    """Take out of the recipe what only pictures of the model's own give a meaning. Raises ConfigError for a reward."""
    if rewards:
        raise ConfigError("--data says itself which pictures are good, and no reward is asked: leave out --reward.")
    _section(tree, "prompts").pop("tag_weights", None)
    _section(tree, "reward").pop("schedule", None)
    if "refresh_every" in _section(tree, "objective"):
        tree["objective"]["refresh_every"] = None


def _drop_trained_judges(monitor: dict[str, Any], trained: Set[str]) -> None:
    """Take out of a recipe's watch the rewards that are now trained on, which cannot be held against themselves."""
    gold, held_out = monitor.get("gold"), monitor.get("held_out")
    if isinstance(gold, str) and gold in trained:
        monitor["gold"] = None
    if isinstance(held_out, list):  # anything else, and what is no name in it, is left for pydantic to refuse
        monitor["held_out"] = [name for name in held_out if not (isinstance(name, str) and name in trained)]


def _section(tree: dict[str, Any], name: str) -> dict[str, Any]:
    """The section of that name, made where there is none; anything but a mapping is left for pydantic to refuse."""
    if not isinstance(tree.get(name), dict):
        tree[name] = {}
    section: dict[str, Any] = tree[name]
    return section
