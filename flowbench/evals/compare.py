"""Is one model better than another on the same prompts and seeds? Paired interval and paired test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from flowbench.evals.intervals import Stratum, as_values, bootstrap, mean_of_means, strata

_FLIPS = int.from_bytes(b"flips", "big")  # the purpose of the draw, so that it does not share the bootstrap's stream


@dataclass(frozen=True)
class Paired:
    """a minus b. count, unscored: pairs in the comparison, and pairs left out since a or b is NaN."""

    difference: float
    low: float
    high: float
    p: float
    prompts: int
    count: int
    unscored: int


def paired_test(
    a: Sequence[float],
    b: Sequence[float],
    prompt_ids: Sequence[Any],
    tags: Sequence[Any] | None = None,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Paired:
    """Compare a with b, row by row scores of two models for the same prompt and seed.

    difference: of the means (with tags: of the means of tag means). low, high: its 95% bootstrap interval over prompts,
    stratified by tag; NaN with fewer than 20 prompts. p, two-sided: sign-flip permutation over prompts (under the null
    hypothesis swapping the two models on a prompt changes nothing), (k + 1) / (draws + 1), hence never 0.
    A pair with a NaN on either side is left out of both, and counted; a tag left without pairs makes all numbers NaN.
    Raises ConfigError for lengths that differ or infinite values.
    """
    differences = as_values(a, prompt_ids, tags) - as_values(b, prompt_ids, tags)
    parts = strata(differences, prompt_ids, tags)
    low, high = bootstrap(parts, 0.95, draws, seed)
    unscored = int(numpy.isnan(differences).sum())
    return Paired(
        difference=mean_of_means(parts),
        low=low,
        high=high,
        p=_sign_flip_p(parts, draws, seed),
        prompts=sum(len(part.counts) for part in parts),
        count=len(differences) - unscored,
        unscored=unscored,
    )


def _sign_flip_p(parts: Sequence[Stratum], draws: int, seed: int) -> float:
    observed = mean_of_means(parts)
    if math.isnan(observed):
        return math.nan
    # the difference is a sum over prompts; flipping a prompt's sign flips its share
    shares = numpy.concatenate([part.totals / part.counts.sum() / len(parts) for part in parts])
    generator = numpy.random.default_rng([seed, _FLIPS])
    signs = 2 * generator.integers(2, size=(draws, len(shares)), dtype=numpy.int8) - 1
    tolerance = 1e-9 * numpy.abs(shares).sum()  # ties count as extreme, whatever the rounding of their sums
    extreme = int((numpy.abs(signs @ shares) >= abs(observed) - tolerance).sum())
    return (extreme + 1) / (draws + 1)
