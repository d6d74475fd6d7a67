"""Standard errors in closed form, clustered on prompts and stratified by tag.

The mean of a tag is a ratio of two sums over its n prompts, totals / counts. To first order it varies as the sum of the
prompts' residuals e = total - mean * count does; so its variance is n / (n - 1) * sum(e^2) / (sum of counts)^2: the
cluster-robust variance ("CR1", Liang and Zeger 1986) of a regression on a constant. The variance of a mean of tag
means is the sum of theirs over the square of their number, since tags share no prompts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy
from scipy import special

from flowbench.stats.clusters import Design, Stratum, as_values, enough, mean_of_means


def standard_error(values: Sequence[float], prompt_ids: Sequence[Any], tags: Sequence[Any] | None = None) -> float:
    """The standard error of `interval`'s mean, in the values' unit; NaN where that has no interval.

    Raises ConfigError for lengths that differ or infinite values.
    """
    error, _ = error_and_freedom(Design.of(prompt_ids, tags).strata(as_values(values, prompt_ids, tags)))
    return error


def error_and_freedom(parts: Sequence[Stratum]) -> tuple[float, float]:
    """The standard error of `mean_of_means`, and the degrees of freedom of its t distribution (Welch, Satterthwaite).

    Both NaN where there are too few prompts. Without any spread, or none but that of rounding (1e-12 of the mean, or of
    1), the error is 0, with infinitely many degrees.
    """
    if not enough(parts):
        return math.nan, math.nan
    variances = numpy.array([_variance(part) for part in parts])
    total = float(variances.sum())
    error = math.sqrt(total) / len(parts)
    if error <= 1e-12 * max(1.0, abs(mean_of_means(parts))):
        return 0.0, math.inf
    shares = sum(v**2 / (len(part.counts) - 1) for v, part in zip(variances, parts, strict=True))
    return error, total**2 / float(shares)


def student_interval(parts: Sequence[Stratum], confidence: float) -> tuple[float, float]:
    """`mean_of_means` plus and minus as many standard errors as Student's t has in the middle `confidence`."""
    error, freedom = error_and_freedom(parts)
    mean, reach = mean_of_means(parts), student_quantile(freedom, (1 + confidence) / 2) * error
    return mean - reach, mean + reach


def detectable(parts: Sequence[Stratum], *, size: float = 0.05, power: float = 0.8) -> float:
    """The true difference that a two-sided test at `size` would call one with probability `power`.

    (t(1 - size / 2) + t(power)) standard errors, 2.8 of them with many prompts. NaN where there are too few prompts,
    and when all differences are equal: no spread was seen from which to tell.
    """
    error, freedom = error_and_freedom(parts)
    if not error > 0:
        return math.nan
    return (student_quantile(freedom, 1 - size / 2) + student_quantile(freedom, power)) * error


def student_quantile(freedom: float, probability: float) -> float:
    """Of Student's t; with infinite degrees of freedom, of the normal distribution."""
    return float(special.ndtri(probability) if math.isinf(freedom) else special.stdtrit(freedom, probability))


def _variance(part: Stratum) -> float:
    """Of one tag's mean."""
    size = len(part.counts)
    residuals = part.totals - part.mean * part.counts
    return float(size / (size - 1) * (residuals**2).sum() / part.counts.sum() ** 2)
