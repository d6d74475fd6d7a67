"""How sure a benchmark number is: intervals over prompts.

The unit is the prompt, not the image: the images of one prompt are alike, and counted as independent they would make
the interval of a GenEval score about 1.6 times too narrow (4 images a prompt, correlation .5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowbench.errors import ConfigError
from flowbench.stats import analytic, resampling
from flowbench.stats.clusters import (
    FEWEST_PROMPTS_PER_TAG,
    FEWEST_PROMPTS_PER_TAG_OF_VERDICTS,
    Design,
    Stratum,
    are_verdicts,
    as_values,
    enough,
    mean_of_means,
)
from flowbench.stats.methods import CONFIDENCE, DEFAULT, DRAWS, METHODS, Method


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval over prompts, with all that says what kind of interval it is."""

    mean: float
    """NaN when nothing was scored."""
    low: float
    """Lower bound; NaN where there are too few prompts for an interval."""
    high: float
    """Upper bound; NaN likewise."""
    count: int
    """Scored values."""
    unscored: int
    """NaN values, which are in no mean."""
    method: Method
    """How low and high were found; "analytic" where "wilson" was asked for and a value lies outside [0, 1]."""
    confidence: float
    """How often intervals found in this way hold the true mean."""
    draws: int
    """Of the bootstrap; 0 for "wilson" and "analytic", which draw nothing."""


def interval(
    values: Sequence[float],
    prompt_ids: Sequence[Any],
    tags: Sequence[Any] | None = None,
    *,
    confidence: float = CONFIDENCE,
    draws: int = DRAWS,
    seed: int = 0,
    method: Method = DEFAULT,
) -> Interval:
    """The mean of `values` with its confidence interval over prompts, stratified by tag.

    values, prompt_ids, tags: one per image, in any order (the result does not depend on it). A NaN value is unscored:
    left out and counted. Without tags the mean is over values; with tags it is the mean of the tags' means, each over
    values. A tag without any scored value makes the mean NaN: left out, a hard tag that fails would lift the number.
    With fewer than 20 scored prompts, or fewer than 5 of some tag, low and high are NaN, since the spread of so few is
    seen too small (of one, there is none at all); the mean stays. Wilson's interval of zeros and ones needs 3 of a tag.
    method: "wilson" (Wilson's score interval, clustered, for values that all lie in [0, 1]; for others it is
    "analytic", and the interval says so), "analytic" (Student's t, clustered standard error), or "percentile" or "bca"
    of a bootstrap over prompts.
    Of values that all lie in [0, 1] the bounds do so too: the factor that mends the bootstrap's spread (and, with
    "analytic", the symmetry) would lead beyond it near the ends.
    Raises ConfigError for lengths that differ, infinite values, a confidence outside (0, 1), less than one draw or an
    unknown method.
    """
    alone = interval_table({"": values}, prompt_ids, tags, confidence=confidence, draws=draws, seed=seed, method=method)
    return alone[""]


def interval_table(
    columns: Mapping[str, Sequence[float]],
    prompt_ids: Sequence[Any],
    tags: Sequence[Any] | None = None,
    *,
    confidence: float = CONFIDENCE,
    draws: int = DRAWS,
    seed: int = 0,
    method: Method = DEFAULT,
) -> dict[str, Interval]:
    """`interval` of each of several columns (metrics) over the same images, which share their bootstrap draws.

    The numbers are those of `interval` on each column alone; six columns take little longer than one.
    """
    check_confidence(confidence)
    scores = {name: as_values(values, prompt_ids, tags) for name, values in columns.items()}
    design = Design.of(prompt_ids, tags)
    parts = {name: design.strata(column) for name, column in scores.items()}
    shares = {name: not ((column < 0) | (column > 1)).any() for name, column in scores.items()}  # NaN is neither
    methods: dict[str, Method] = {
        name: "analytic" if method == "wilson" and not shares[name] else method for name in scores
    }
    bounds: dict[str, tuple[float, float]] = {}
    for each in dict.fromkeys([method, *methods.values()]):
        names = [name for name in scores if methods[name] == each]
        bounds |= zip(names, bounds_of([parts[name] for name in names], confidence, draws, seed, each), strict=True)
    found = {}
    for name, column in scores.items():
        low, high = bounds[name]
        if shares[name]:  # no mean of them is elsewhere; NaN stays NaN
            low, high = max(low, 0.0), min(high, 1.0)
        count = sum(int(part.counts.sum()) for part in parts[name])
        unscored, drawn = len(column) - count, draws_of(methods[name], draws)
        mean = mean_of_means(parts[name])
        found[name] = Interval(mean, low, high, count, unscored, methods[name], confidence, drawn)
    return found


def draws_of(method: Method, draws: int) -> int:
    """How many of `draws` a method makes: all of them, or none."""
    return draws if method in ("percentile", "bca") else 0


def check_confidence(confidence: float) -> None:
    """Raises ConfigError unless it lies between 0 and 1."""
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence {confidence}: give a number between 0 and 1, like 0.95.")


def check_draws(draws: int) -> None:
    """Raises ConfigError unless there is at least one."""
    if draws < 1:
        raise ConfigError(f"draws {draws}: give at least 1, like 2000.")


def bounds_of(
    columns: Sequence[Sequence[Stratum]], confidence: float, draws: int, seed: int, method: Method
) -> list[tuple[float, float]]:
    """low and high of each column's `mean_of_means`, for "wilson" of values in [0, 1]; NaN where there are too few
    prompts.

    Raises ConfigError for an unknown method, and for less than one draw.
    """
    check_draws(draws)
    if method not in METHODS:
        raise ConfigError(f"interval method '{method}': give one of {', '.join(METHODS)}.")
    found = [(math.nan, math.nan)] * len(columns)
    alike: dict[tuple[int, ...], list[int]] = {}  # columns of which the same prompts are scored share their draws
    for place, parts in enumerate(columns):
        is_known = method == "wilson" and are_verdicts(parts)
        if enough(parts, FEWEST_PROMPTS_PER_TAG_OF_VERDICTS if is_known else FEWEST_PROMPTS_PER_TAG):
            alike.setdefault(tuple(len(part.counts) for part in parts), []).append(place)
    for places in alike.values():
        same = [columns[place] for place in places]
        if method == "wilson":
            bounds = [analytic.wilson_interval(parts, confidence) for parts in same]
        elif method == "analytic":
            bounds = [analytic.student_interval(parts, confidence) for parts in same]
        else:
            means = resampling.bootstrap_means(same, draws, seed).T
            bounds = [
                resampling.percentile_interval(each, confidence)
                if method == "percentile"
                else resampling.bca_interval(parts, each, confidence)
                for parts, each in zip(same, means, strict=True)
            ]
        for place, pair in zip(places, bounds, strict=True):
            found[place] = pair
    return found
