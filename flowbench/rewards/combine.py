"""From what a configuration asks for, "geneval" or {"geneval": 1.0, "jpeg": 0.1}, to one reward object."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from flowbench.errors import ConfigError
from flowbench.registry import did_you_mean
from flowbench.rewards.base import OnError, Reward, build_one, settings_of
from flowbench.rewards.card import Card
from flowbench.rewards.catalog import registry
from flowbench.types import Sample, Score


def check(spec: str | Mapping[str, float], options: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Raise what `build` would about names, weights and options (ConfigError, UnknownName), and build nothing."""
    names = [spec] if isinstance(spec, str) else list(spec)
    options = options or {}
    for name in options:
        if name not in names:
            raise ConfigError(
                f"options are given for reward '{name}', which is not in use.{did_you_mean(name, names)} "
                f"In use: {', '.join(names)}."
            )
    if not isinstance(spec, str):
        _weights(spec)
    for name in names:
        settings_of(name, registry.get(name), None, options.get(name, {}))


def build(
    spec: str | Mapping[str, float],
    *,
    vocabulary: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    on_error: OnError = "raise",
) -> Reward:
    """Build one reward by name, or the weighted sum of several.

    `options` holds the options of each reward under its name. `vocabulary` names the object names that the prompts
    use; it goes to the rewards that ask for it. Raises ConfigError, UnknownName or RewardError.
    """
    check(spec, options)
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error is '{on_error}'. Use 'raise' or 'skip'.")
    options = options or {}
    built = {
        name: build_one(name, vocabulary=vocabulary, options=options.get(name), on_error=on_error)
        for name in ([spec] if isinstance(spec, str) else spec)
    }
    return built[spec] if isinstance(spec, str) else WeightedSum(built, _weights(spec))


class WeightedSum(Reward):
    """The sum of weight x value over several rewards, each in its own unit (no normalisation: "raw").

    Every score keeps the values as parts, "<name>" and "<name>/<part>". A reward of weight 0 is only watched. A sample
    that a reward of another weight leaves unscored is unscored, with that reward's reason.
    """

    def __init__(self, parts: Mapping[str, Reward], weights: Mapping[str, float]):
        name = " + ".join(f"{weights[part]:g}*{part}" for part in parts)
        licences = dict.fromkeys(part.card.licence for part in parts.values() if part.card.licence)
        card = Card(
            name,
            summary="The weighted sum of its parts.",
            unit="weighted sum",
            licence=", ".join(licences),
            needs=tuple(dict.fromkeys(need for part in parts.values() for need in part.card.needs)),
        )
        super().__init__(name, self.__call__, card=card, per_group=any(part.per_group for part in parts.values()))
        self.parts = dict(parts)
        self.weights = dict(weights)

    def __call__(self, samples: Sequence[Sample]) -> list[Score]:
        columns = [part(samples) for part in self.parts.values()]
        return [self._add(dict(zip(self.parts, scores, strict=True))) for scores in zip(*columns, strict=True)]

    def close(self) -> None:
        """Close every part."""
        for part in self.parts.values():
            part.close()

    def _add(self, scores: Mapping[str, Score]) -> Score:
        parts: dict[str, float] = {}
        for name, score in scores.items():
            parts[name] = score.value
            parts.update({f"{name}/{key}": value for key, value in score.parts.items()})
        counted = {name: score for name, score in scores.items() if self.weights[name] != 0}
        missing = {name: score for name, score in counted.items() if not score.is_scored}
        if missing:
            return Score(math.nan, parts, _notes(missing))
        return Score(sum(self.weights[name] * score.value for name, score in counted.items()), parts, _notes(scores))


def _notes(scores: Mapping[str, Score]) -> str:
    return "; ".join(f"{name}: {score.note}" for name, score in scores.items() if score.note)


def _weights(spec: Mapping[str, float]) -> dict[str, float]:
    for name, weight in spec.items():
        if isinstance(weight, bool) or not isinstance(weight, Real) or not math.isfinite(weight):
            raise ConfigError(f"the weight of reward '{name}' is {weight!r}. Give a finite number; 0 only watches it.")
    if not any(spec.values()):
        raise ConfigError("no reward has a weight other than 0, so nothing would be scored. Give one a weight.")
    return {name: float(weight) for name, weight in spec.items()}
