"""Rewards that score the watch's panel: those held out of training, and the gold that the trained one stands for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from flowbench import rewards
from flowbench.config import TrainConfig
from flowbench.errors import ConfigError
from flowbench.registry import did_you_mean
from flowbench.rewards.base import build_one
from flowbench.types import Sample

REWARD, GAP = "reward", "gap"
"""The judge that is trained on, which is asked where there is a gold, and the signal that compares the two."""


@dataclass(frozen=True)
class Judge:
    """One number of each picture."""

    name: str
    """as the settings say it: "pickscore", "geneval/exclusive"; or REWARD"""
    reward: rewards.Reward
    part: str = ""
    """of its score; "": the value"""
    lower_is_better: bool = False
    is_trained: bool = False
    """whether training has built the reward, and closes it"""

    def mean(self, samples: Sequence[Sample]) -> float:
        """Over those that it scores; NaN where it scores none. Raises RewardError as the reward does, ConfigError for a
        part that its scores do not have."""
        scores = [score for score in self.reward(samples) if score.is_scored]
        if scores and self.part and not any(self.part in score.parts for score in scores):
            known = sorted({name for score in scores for name in score.parts})
            raise ConfigError(f"monitor: {self.name} is no part of its scores. Known: {', '.join(known) or 'none'}.")
        values = [score.parts.get(self.part, math.nan) if self.part else score.value for score in scores]
        known_values = [value for value in values if not math.isnan(value)]
        return fmean(known_values) if known_values else math.nan


def check(config: TrainConfig) -> None:
    """Raise what is wrong with `monitor.held_out`, `gold` and `options` before anything loads: UnknownName, ConfigError
    for what cannot be a judge and for a gold that has nothing to be compared with."""
    named = _named(config)
    for name in named:
        _refuse(name, config)
        _direction(name, config)
    asked = asked_for(config)
    for name in config.monitor.options:
        if name not in asked:
            known = ", ".join(asked) or "none"
            raise ConfigError(f"monitor.options has some for '{name}', which the watch does not ask. It asks: {known}.")
    if config.monitor.gold is not None and (why := _no_gold(config)):
        raise ConfigError(f"monitor.gold has nothing to compare with: under {why}. Set it to null.")


def _no_gold(config: TrainConfig) -> str:
    """Why no gold can be held against the trained reward; "" where one can."""
    reasons = (
        (config.data is not None, "data, no reward is trained on"),
        (bool(config.reward.schedule), "reward.schedule, what the reward is changes on the way"),
        (config.reward.combine in ("zscore", "rank"), "reward.combine, the reward's mean never changes"),
    )
    return next((why for holds, why in reasons if holds), "")


def gold_of(config: TrainConfig) -> str | None:
    """`monitor.gold`; where it is null, what the card of the one trained reward says that it stands for, if the two can
    be compared. None without a watch."""
    monitor, name = config.monitor, config.reward.name
    if monitor.every is None or monitor.gold is not None or not isinstance(name, str) or _no_gold(config):
        return monitor.gold
    card = rewards.registry.card(name) if name in rewards.registry else None
    return card.gold if card is not None and card.gold and card.gold not in monitor.held_out else None


def asked_for(config: TrainConfig) -> list[str]:
    """The rewards that the watch asks, each once; none without a watch."""
    return list(dict.fromkeys(_parted(name)[0] for name in _named(config))) if config.monitor.every else []


def build(config: TrainConfig, reward: rewards.Reward | None, vocabulary: str) -> list[Judge]:
    """The held-out ones, then the gold and the trained reward where there is a gold. What training has built is taken,
    unless `monitor.options` asks for another one. Raises as `rewards.build` does."""
    trained = {} if reward is None else reward.parts or {reward.name: reward}
    taken = {name: each for name, each in trained.items() if name not in config.monitor.options}
    built, judges = dict(taken), []
    for name in _named(config):
        base, part = _parted(name)
        if base not in built:
            built[base] = build_one(
                base, vocabulary=vocabulary, options=config.monitor.options.get(base), on_error=config.reward.on_error,
                timeout=config.reward.timeout, cache=config.reward.cache,
            )  # fmt: skip
        judges.append(Judge(name, built[base], part, _direction(name, config) == "lower", is_trained=base in taken))
    if gold_of(config) is not None and reward is not None:
        judges.append(Judge(REWARD, reward, is_trained=True))
    return judges


def _named(config: TrainConfig) -> list[str]:
    return config.monitor.model_copy(update={"gold": gold_of(config)}).named


def _parted(name: str) -> tuple[str, str]:
    """(reward, part); a name that is registered as it is, is a reward."""
    if name in rewards.registry:
        return name, ""
    base, _, part = name.partition("/")
    return base, part


def _refuse(name: str, config: TrainConfig) -> None:
    """Raise ConfigError for a reward that is trained on, and for one whose figures would be the watch's own."""
    from flowbench.metrics.signals import SIGNALS

    if name in (REWARD, GAP, "alarms", "drift", *(signal.name for signal in SIGNALS)):
        raise ConfigError(
            f"monitor: '{name}' is what the watch calls a figure of its own. Register it by another name."
        )
    if name.endswith("/") and name not in rewards.registry:
        raise ConfigError(f"monitor: '{name}' names no part after the stroke. Name one, or leave the stroke out.")
    spec = config.reward.name
    stages = [{spec: 1.0} if isinstance(spec, str) else spec, *(stage.weights for stage in config.reward.schedule)]
    if config.data is None and any(stage.get(name) for stage in stages):
        raise ConfigError(f"monitor: {name} is trained on, and cannot be held against itself. Name a part, or another.")


def _direction(name: str, config: TrainConfig) -> str:
    base, part = _parted(name)
    rewards.check(base, {base: config.monitor.options.get(base, {})})
    card = rewards.registry.card(base)
    if card is None:  # a plugin that says nothing: more is better, as in training
        return "higher"
    if part and card.parts and part not in card.parts:
        raise ConfigError(
            f"monitor: {base} has no part '{part}'.{did_you_mean(part, card.parts)} Known: {', '.join(card.parts)}."
        )
    direction = card.parts[part].direction if part in card.parts else "higher" if part else card.direction
    if direction == "none":
        raise ConfigError(f"monitor: of {name} neither end is better, so that it cannot fall. Name another one.")
    return direction
