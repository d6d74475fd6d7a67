"""Standard errors and intervals in closed form, clustered on prompts and stratified by tag.

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

from flowbench.stats.clusters import Design, Stratum, are_verdicts, as_values, enough, mean_of_means

_DOUBT = 0.2  # of a prompt; by simulation (docs/decisions/0018): less misses clusters, more is too wide near the ends


def standard_error(values: Sequence[float], prompt_ids: Sequence[Any], tags: Sequence[Any] | None = None) -> float:
    """The standard error of `interval`'s mean, in the values' unit; NaN with fewer than 20 prompts, or 5 of some tag.

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


def wilson_interval(parts: Sequence[Stratum], confidence: float) -> tuple[float, float]:
    """Wilson's score interval (1927) of `mean_of_means` of values in [0, 1], whose prompts are clusters.

    Its bounds are the p with (mean - p)^2 = t^2 p (1 - p) / n: the error is that which a true mean of p would have, so
    near the ends the interval leans inwards. n is the effective number of values, mean (1 - mean) / variance, as Korn
    and Graubard (1998) put the clustered variance into a binomial interval; Dean and Pagano (2015) and Franco, Little,
    Louis and Slud (2019) compare such intervals.

    Near an end few prompts show whether pictures fail together, and the variance comes out too small: one failing
    picture looks independent of all others. So the variance is mixed with that which there would be if the pictures of
    a prompt were copies of one, by the weight of `_DOUBT` prompts against those that say something about it (for the
    lower bound: prompts that are not all right; for the upper: not all wrong). Zeros and ones without any spread within
    a tag leave the copies alone: if all are right, n is the number of prompts, and 20 give [.838, 1]. Other values that
    are all equal show no doubt, and get none.

    t has sum(n - 1) degrees of freedom, n the prompts of a tag, and sum(n (n - 1)) if all values are 0 or 1: the
    variance of n such prompts is known from their mean but for a relative variance of 2 / (n (n - 1)).
    """
    mean, verdicts, sizes = mean_of_means(parts), are_verdicts(parts), [len(part.counts) for part in parts]
    tags = len(parts) ** 2
    seen = sum(_variance(part) for part in parts) / tags
    alone = [float((part.counts**2).sum() / part.counts.sum() ** 2) for part in parts]  # 1 / n of prompts of equal size
    spreads = [max(0.0, float(part.squares.sum() / part.counts.sum()) - part.mean**2) for part in parts]
    copies = sum(s * a * n / (n - 1) for s, a, n in zip(spreads, alone, sizes, strict=True)) / tags
    freedom = sum((n - 1) * (n if verdicts else 1) for n in sizes)
    quantile = student_quantile(freedom, (1 + confidence) / 2)
    not_right = sum(int((part.totals < part.counts).sum()) for part in parts)
    not_wrong = sum(int((part.totals > 0).sum()) for part in parts)
    bounds = []
    for side, telling in ((-1, not_right), (1, not_wrong)):
        if max(spreads) > 1e-14:  # more than rounding
            variance = (telling * seen + _DOUBT * copies) / (telling + _DOUBT)
            part_of_n = quantile**2 * variance / (mean * (1 - mean))
        else:
            part_of_n = quantile**2 * sum(alone) / tags if verdicts else 0.0
        reach = math.sqrt(part_of_n * (mean * (1 - mean) + part_of_n / 4))
        bounds.append((mean + part_of_n / 2 + side * reach) / (1 + part_of_n))
    return min(bounds[0], mean), max(bounds[1], mean)


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
