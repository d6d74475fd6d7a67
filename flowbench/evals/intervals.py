"""How sure a benchmark number is: bootstrap intervals over prompts.

The unit is the prompt, not the image: the images of one prompt are alike, and counted as independent they would make
the interval of a GenEval score about 1.6 times too narrow (4 images a prompt, correlation .5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy import ndarray

from flowbench.errors import ConfigError

FEWEST_PROMPTS = 20
FEWEST_PROMPTS_PER_TAG = 5


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval. count, unscored: scored values, and NaN ones (they are in no mean)."""

    mean: float
    low: float
    high: float
    count: int
    unscored: int


@dataclass(frozen=True)
class Stratum:
    """The prompts of one tag that have a scored value: sum and number of each prompt's values, (prompts,) each."""

    totals: ndarray
    counts: ndarray

    @property
    def mean(self) -> float:
        """The mean over values, not over prompts."""
        return float(self.totals.sum() / self.counts.sum()) if len(self.counts) else math.nan


def interval(
    values: Sequence[float],
    prompt_ids: Sequence[Any],
    tags: Sequence[Any] | None = None,
    *,
    confidence: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean of `values` with its percentile-bootstrap interval over prompts, stratified by tag.

    values, prompt_ids, tags: one per image, in any order (the result does not depend on it). A NaN value is unscored:
    left out and counted. Without tags the mean is over values; with tags it is the mean of the tags' means, each over
    values. A tag without any scored value makes the mean NaN: left out, a hard tag that fails would lift the number.
    With fewer than 20 scored prompts, or fewer than 5 of some tag, low and high are NaN, since a bootstrap of so few is
    too narrow (of one, it has no width at all); the mean stays.
    Raises ConfigError for lengths that differ, infinite values or a confidence outside (0, 1).
    """
    scores = as_values(values, prompt_ids, tags)
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence {confidence}: give a number between 0 and 1, like 0.95.")
    parts = strata(scores, prompt_ids, tags)
    low, high = bootstrap(parts, confidence, draws, seed)
    unscored = int(numpy.isnan(scores).sum())
    return Interval(mean_of_means(parts), low, high, len(scores) - unscored, unscored)


def as_values(values: Sequence[float], prompt_ids: Sequence[Any], tags: Sequence[Any] | None) -> ndarray:
    """`values` in float64, checked."""
    scores = numpy.asarray(values, dtype=numpy.float64)
    others = [len(prompt_ids)] + ([] if tags is None else [len(tags)])
    if scores.ndim != 1 or any(length != len(scores) for length in others):
        raise ConfigError(f"{scores.shape} values for {others} prompt ids (and tags): give one of each per image.")
    if numpy.isinf(scores).any():
        raise ConfigError(f"value {int(numpy.isinf(scores).argmax())} is infinite: unscored is NaN.")
    return scores


def strata(scores: ndarray, prompt_ids: Sequence[Any], tags: Sequence[Any] | None) -> list[Stratum]:
    """One stratum per tag (one in all without tags), in the order of the sorted tags."""
    _, prompts = numpy.unique(numpy.asarray(prompt_ids), return_inverse=True)
    labels = numpy.zeros(len(scores), dtype=int)
    if tags is not None:
        # a sample without a tag (None) belongs to a tag of its own; None and text do not sort together
        _, labels = numpy.unique(numpy.asarray([str(tag) for tag in tags]), return_inverse=True)
    order = numpy.lexsort((scores, prompts))  # sums of floats depend on their order: fix it, whatever the row order
    scores, prompts, labels = scores[order], prompts[order], labels[order]
    scored = ~numpy.isnan(scores)
    return [
        _stratum(scores[scored & (labels == label)], prompts[scored & (labels == label)])
        for label in range(labels.max(initial=-1) + 1)
    ]


def mean_of_means(parts: Sequence[Stratum]) -> float:
    """The mean of the strata's means: NaN without strata, or when one of them has no scored value."""
    return sum(part.mean for part in parts) / len(parts) if parts else math.nan


def bootstrap(parts: Sequence[Stratum], confidence: float, draws: int, seed: int) -> tuple[float, float]:
    """Percentile interval of `mean_of_means`: prompts drawn with replacement within each stratum.

    A bootstrap of n prompts varies with (n - 1) / n of the variance that it stands for. Over six tags of 8 prompts that
    alone would leave a 95 % interval with 92 % coverage, so each stratum's deviations are scaled by sqrt(n / (n - 1)).
    """
    sizes = [len(part.counts) for part in parts]
    if sum(sizes) < FEWEST_PROMPTS or min(sizes) < FEWEST_PROMPTS_PER_TAG:
        return math.nan, math.nan
    generator = numpy.random.default_rng(seed)
    means = numpy.zeros(draws)
    for part, size in zip(parts, sizes, strict=True):
        drawn = generator.integers(size, size=(draws, size))
        deviations = part.totals[drawn].sum(axis=1) / part.counts[drawn].sum(axis=1) - part.mean
        means += part.mean + deviations * math.sqrt(size / (size - 1))
    tail = (1 - confidence) / 2
    low, high = numpy.quantile(means / len(parts), [tail, 1 - tail])
    return float(low), float(high)


def _stratum(scores: ndarray, prompts: ndarray) -> Stratum:
    _, inverse, counts = numpy.unique(prompts, return_inverse=True, return_counts=True)
    return Stratum(numpy.bincount(inverse, weights=scores, minlength=len(counts)), counts)
