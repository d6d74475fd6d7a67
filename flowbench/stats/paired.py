"""Is one model better than another on the same prompts and seeds? Paired test, win rate, correction for many tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy

from flowbench.errors import ConfigError
from flowbench.stats import analytic, resampling
from flowbench.stats.clusters import Design, as_values, mean_of_means
from flowbench.stats.intervals import bounds_of, draws_of, interval
from flowbench.stats.methods import CONFIDENCE, DRAWS, Method

Direction = Literal["higher", "lower"]


@dataclass(frozen=True)
class Paired:
    """a minus b on the same prompts and seeds."""

    difference: float
    """Of the means; of the means of tag means where there are tags."""
    low: float
    """Lower bound; NaN, as `detectable`, where there are too few prompts for an interval."""
    high: float
    """Upper bound; NaN likewise."""
    p: float
    """Two-sided, by sign flips of prompts; never 0."""
    prompts: int
    """Prompts with a pair that is scored on both sides."""
    count: int
    """Pairs in the comparison."""
    unscored: int
    """Pairs left out since a or b is NaN."""
    method: Method
    """How low and high were found."""
    confidence: float
    """Of the interval from low to high."""
    draws: int
    """Of the bootstrap behind low and high; 0 for "analytic"."""
    flips: int
    """Random sign flips behind p."""
    detectable: float = math.nan
    """The true difference that this comparison, at its prompts and spread, would call one (p < 5 %) four times in five.
    Smaller ones it mostly misses: "no difference found" says nothing about them."""


@dataclass(frozen=True)
class WinRate:
    """How often a beats b on the same prompt and seed."""

    rate: float
    """A tie counts half; with tags, the mean of the tags' rates."""
    low: float
    """Lower bound; NaN where there are too few prompts for an interval."""
    high: float
    """Upper bound; NaN likewise."""
    wins: int
    """Pairs of pictures of which a's is the better one."""
    ties: int
    """Pairs of equal value."""
    losses: int
    """Pairs of which b's is the better one."""
    unscored: int
    """Pairs left out since a or b is NaN."""
    method: Method
    """How low and high were found."""
    confidence: float
    """Of the interval from low to high."""
    draws: int
    """Of the bootstrap behind low and high; 0 for "wilson"."""


def paired_test(
    a: Sequence[float],
    b: Sequence[float],
    prompt_ids: Sequence[Any],
    tags: Sequence[Any] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    method: Method = "percentile",
) -> Paired:
    """Compare a with b, row by row scores of two models for the same prompt and seed.

    difference: of the means (with tags: of the means of tag means). low, high: its 95% interval over prompts,
    stratified by tag, by the `method` of `interval`, but "wilson" is for shares; NaN with fewer than 20 prompts, and so
    is `detectable`.
    p, two-sided: sign-flip permutation over prompts (under the null hypothesis swapping the two models on a prompt
    changes nothing), (k + 1) / (draws + 1), so that it is never 0.
    A pair with a NaN on either side is left out of both, and counted; a tag left without pairs makes all numbers NaN.
    Raises ConfigError for lengths that differ, infinite values, less than one draw, an unknown method or "wilson".
    """
    return paired_table({"": (a, b)}, prompt_ids, tags, draws=draws, seed=seed, method=method)[""]


def paired_table(
    pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    prompt_ids: Sequence[Any],
    tags: Sequence[Any] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    method: Method = "percentile",
) -> dict[str, Paired]:
    """`paired_test` of each of several (a, b), such as a metric each, on the same images; they share their draws.

    The numbers are those of `paired_test` on each alone; for a correction over the table see `holm` and `draws_for`.
    """
    if method == "wilson":
        raise ConfigError("interval method 'wilson' is for shares, not differences: give percentile, bca or analytic.")
    design = Design.of(prompt_ids, tags)
    differences = [as_values(a, prompt_ids, tags) - as_values(b, prompt_ids, tags) for a, b in pairs.values()]
    columns = [design.strata(each) for each in differences]
    bounds = bounds_of(columns, CONFIDENCE, draws, seed, method)
    p_values = resampling.sign_flip_p(columns, draws, seed)
    found = {}
    for place, (name, parts) in enumerate(zip(pairs, columns, strict=True)):
        unscored = int(numpy.isnan(differences[place]).sum())
        found[name] = Paired(
            difference=mean_of_means(parts),
            low=bounds[place][0],
            high=bounds[place][1],
            p=p_values[place],
            prompts=sum(len(part.counts) for part in parts),
            count=len(differences[place]) - unscored,
            unscored=unscored,
            method=method,
            confidence=CONFIDENCE,
            draws=draws_of(method, draws),
            flips=draws,
            detectable=analytic.detectable(parts),
        )
    return found


def win_rate(
    a: Sequence[float],
    b: Sequence[float],
    prompt_ids: Sequence[Any],
    tags: Sequence[Any] | None = None,
    *,
    direction: Direction = "higher",
    draws: int = DRAWS,
    seed: int = 0,
) -> WinRate:
    """The share of pairs (same prompt and seed) in which a is better than b; a tie counts half.

    rate, with tags: the mean of the tags' rates. low, high: its 95% interval over prompts by the default method of
    `interval`, stratified by tag; NaN with fewer than 20 prompts. direction: whether the "higher" or the "lower" value
    is the better one.
    Raises ConfigError for another direction, lengths that differ or infinite values.
    """
    differences = sign_of(direction) * (as_values(a, prompt_ids, tags) - as_values(b, prompt_ids, tags))
    outcomes = (numpy.sign(differences) + 1) / 2  # NaN stays NaN
    found = interval(outcomes, prompt_ids, tags, draws=draws, seed=seed)
    wins, ties, losses = (int((differences > 0).sum()), int((differences == 0).sum()), int((differences < 0).sum()))
    kind = (found.method, found.confidence, found.draws)
    return WinRate(found.mean, found.low, found.high, wins, ties, losses, found.unscored, *kind)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for being many (Holm 1979), in the given order: reject those up to 5 %, and the chance of one
    or more false rejections in the whole table is at most 5 %.

    The smallest is multiplied by their number m, the next by m - 1 and so on; none falls below one before it, none
    exceeds 1. NaN (not tested) stays NaN and does not count. Of m permutation tests none can come out below
    m / (draws + 1): give `paired_test` enough draws for a large table (`draws_for`).
    Raises ConfigError for a p outside [0, 1].
    """
    values = numpy.asarray(p_values, dtype=numpy.float64)
    if ((values < 0) | (values > 1)).any():
        raise ConfigError(f"p value {values[(values < 0) | (values > 1)][0]:g}: a p value lies between 0 and 1.")
    order = numpy.argsort(values)  # NaN last
    order = order[: int((~numpy.isnan(values)).sum())]
    adjusted = numpy.full(len(values), math.nan)
    factors = numpy.arange(len(order), 0, -1)
    adjusted[order] = numpy.minimum(numpy.maximum.accumulate(values[order] * factors), 1)
    return [float(value) for value in adjusted]


def draws_for(tests: int, size: float = 0.05) -> int:
    """Draws enough for the permutation tests of a table of that many: the smallest p that Holm's correction leaves is
    at most a tenth of `size`. 2,000, the default of `paired_test`, for up to ten tests.
    """
    return max(DRAWS, math.ceil(10 * tests / size))


def sign_of(direction: str) -> int:
    """1 where higher values are better, -1 where lower ones are. Raises ConfigError for any other direction."""
    if direction not in ("higher", "lower"):
        raise ConfigError(f"direction '{direction}': say whether 'higher' or 'lower' values are better.")
    return 1 if direction == "higher" else -1
