"""From what a configuration asks for, "geneval" or {"geneval": 1.0, "jpeg": 0.1}, to one reward object."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, Literal, get_args

from flowbench.errors import ConfigError, RewardError
from flowbench.registry import did_you_mean
from flowbench.rewards.base import OnError, Reward, build_one, settings_of
from flowbench.rewards.card import Card, Part
from flowbench.rewards.catalog import registry
from flowbench.types import Sample, Score

Combine = Literal["raw", "scaled", "zscore", "rank"]
_SPREAD_OF_EQUALS = 1e-8
"""A group whose standard deviation is below this has no better and worse pictures."""


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
    combine: Combine = "raw",
    on_error: OnError = "raise",
    timeout: float | None = None,
    cache: bool = True,
) -> Reward:
    """Build one reward by name, or the weighted sum of several.

    `options` holds the options of each reward under its name. `vocabulary` names the object names that the prompts
    use; it goes to the rewards that ask for it. `combine`: see `WeightedSum`; it concerns sums only. `timeout`: seconds
    for one call of one reward. `cache`: keep each reward's scores in the score cache and use those that are kept there
    (`rewards.cache` says which); FLOWBENCH_SCORE_CACHE=off in the environment forbids it. Raises ConfigError,
    UnknownName, LicenceError or RewardError.
    """
    check(spec, options)
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error is '{on_error}'. Use 'raise' or 'skip'.")
    if timeout is not None and not 0 < timeout <= threading.TIMEOUT_MAX:
        raise ConfigError(f"timeout is {timeout}. Give seconds above 0, or None for no limit.")
    if combine not in get_args(Combine):
        raise ConfigError(f"combine is '{combine}'. Use one of: {', '.join(get_args(Combine))}.")
    options = options or {}
    built = {
        name: build_one(
            name, vocabulary=vocabulary, options=options.get(name), on_error=on_error, timeout=timeout, cache=cache
        )
        for name in ([spec] if isinstance(spec, str) else spec)
    }
    return built[spec] if isinstance(spec, str) else WeightedSum(built, _weights(spec), combine)


class WeightedSum(Reward):
    """The sum of weight x term over several rewards; what a reward's term is, `combine` says:

    raw     its value, in its own unit
    scaled  its value as published training code uses it, `card.for_training` (PickScore / 26, for example)
    zscore  (value - mean) / standard deviation, over the pictures of its prompt
    rank    its place among the pictures of its prompt, from 0 (worst) to 1 (best), equals sharing theirs

    Every score keeps the values as parts, "<name>" and "<name>/<part>". A reward of weight 0 is only watched. A sample
    that a reward of another weight leaves unscored is unscored, with that reward's reason; it takes no part in the
    mean, deviation and ranks of the others. For zscore and rank, hand it whole groups.
    """

    def __init__(self, parts: Mapping[str, Reward], weights: Mapping[str, float], combine: Combine = "raw"):
        name = " + ".join(f"{weights[part]:g}*{part}" for part in parts)
        licences = dict.fromkeys(part.card.licence for part in parts.values() if part.card.licence)
        card = Card(
            name,
            summary="The weighted sum of its parts.",
            unit=f"weighted sum ({combine})",
            licence=", ".join(licences),
            needs=tuple(dict.fromkeys(need for part in parts.values() for need in part.card.needs)),
            parts={
                **{name: Part(part.card.unit, part.card.direction) for name, part in parts.items()},
                **{f"{name}/{key}": each for name, part in parts.items() for key, each in part.card.parts.items()},
            },
        )
        in_groups = combine in ("zscore", "rank") or any(part.per_group for part in parts.values())
        super().__init__(name, self._sum, card=card, per_group=in_groups)
        self.parts = dict(parts)
        self.weights = dict(weights)
        self.combine = combine

    def __call__(self, samples: Sequence[Sample]) -> list[Score]:
        """Without Reward's checks: the parts have made them, and their errors are clear as they are."""
        scores: list[Score | None] = [None] * len(samples)
        for places in self._batches(samples):
            for place, score in zip(places, self._sum([samples[place] for place in places]), strict=True):
                scores[place] = score
        return [score for score in scores if score is not None]

    def close(self) -> None:
        """Close every part."""
        for part in self.parts.values():
            part.close()

    def _sum(self, samples: Sequence[Sample]) -> list[Score]:
        columns = {name: part(samples) for name, part in self.parts.items()}
        missing = {
            place
            for name, scores in columns.items()
            for place, score in enumerate(scores)
            if self.weights[name] != 0 and not score.is_scored
        }
        values = {
            name: [math.nan if place in missing else score.value for place, score in enumerate(scores)]
            for name, scores in columns.items()
        }
        try:
            if self.combine == "scaled":
                terms = {name: [*map(self.parts[name].card.for_training, column)] for name, column in values.items()}
            else:
                terms = {name: _TERMS[self.combine](column) for name, column in values.items()}
        except OverflowError as error:
            raise RewardError(
                f"reward '{self.name}': a value is too large for combine={self.combine}. Choose another unit, or rank."
            ) from error
        return [
            self._add(
                {name: scores[place] for name, scores in columns.items()},
                {name: values[place] for name, values in terms.items()},
            )
            for place in range(len(samples))
        ]

    def _add(self, scores: Mapping[str, Score], terms: Mapping[str, float]) -> Score:
        parts: dict[str, float] = {}
        for name, score in scores.items():
            parts[name] = score.value
            parts.update({f"{name}/{key}": value for key, value in score.parts.items()})
        details = {name: score.details for name, score in scores.items() if score.details}
        counted = [name for name in scores if self.weights[name] != 0]
        missing = {name: scores[name] for name in counted if not scores[name].is_scored}
        if missing:
            return Score(math.nan, parts, _notes(missing), details)
        total = sum(self.weights[name] * terms[name] for name in counted)
        if not math.isfinite(total):
            raise RewardError(f"reward '{self.name}': the weighted sum is {total}. Give its parts smaller weights.")
        return Score(total, parts, _notes(scores), details)


def zscores(values: Sequence[float]) -> list[float]:
    """(value - mean) / standard deviation (of the population); NaN stays NaN and counts nowhere; equals are all 0."""
    scored = [value for value in values if not math.isnan(value)]
    mean = math.fsum(scored) / len(scored) if scored else math.nan
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in scored) / len(scored)) if scored else math.nan
    if deviation < _SPREAD_OF_EQUALS:
        return [math.nan if math.isnan(value) else 0.0 for value in values]
    return [(value - mean) / deviation for value in values]


def ranks(values: Sequence[float]) -> list[float]:
    """Mean place of each value from 0 (lowest) to 1 (highest); NaN stays NaN and counts nowhere; one alone is at .5."""
    scored = [value for value in values if not math.isnan(value)]
    if len(scored) == 1:
        return [math.nan if math.isnan(value) else 0.5 for value in values]
    found = []
    for value in values:
        below = sum(other < value for other in scored)
        equal = sum(other == value for other in scored)  # these share the mean of their places
        found.append(math.nan if math.isnan(value) else (below + (equal - 1) / 2) / (len(scored) - 1))
    return found


_TERMS: dict[str, Callable[[Sequence[float]], list[float]]] = {"raw": list, "zscore": zscores, "rank": ranks}


def _notes(scores: Mapping[str, Score]) -> str:
    return "; ".join(f"{name}: {score.note}" for name, score in scores.items() if score.note)


def _weights(spec: Mapping[str, float]) -> dict[str, float]:
    for name, weight in spec.items():
        if isinstance(weight, bool) or not isinstance(weight, Real) or not math.isfinite(weight):
            raise ConfigError(f"the weight of reward '{name}' is {weight!r}. Give a finite number; 0 only watches it.")
    if not any(spec.values()):
        raise ConfigError("no reward has a weight other than 0, so nothing would be scored. Give one a weight.")
    return {name: float(weight) for name, weight in spec.items()}
