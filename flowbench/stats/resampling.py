"""Random redraws: the bootstrap over prompts, and sign flips of prompts.

What is drawn depends on the numbers of prompts, the number of draws and the seed only. So columns of scores (metrics,
comparisons) over the same prompts share their draws, and a table costs little more than one column: a draw is written
as how often it holds each prompt, and the sums of all columns over all draws are one product of two matrices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy
from numpy import ndarray
from scipy import special

from flowbench.stats.clusters import Stratum, mean_of_means

_FLIPS = int.from_bytes(b"flips", "big")  # the purpose of the draw, so that it does not share the bootstrap's stream
_AT_ONCE = 2**15  # draws x prompts in memory at a time: they stay in the cache, which is faster than larger portions


def bootstrap_means(columns: Sequence[Sequence[Stratum]], draws: int, seed: int) -> ndarray:
    """(draws, columns): `mean_of_means` of prompts drawn with replacement within each stratum.

    columns: the strata of each column; stratum by stratum all columns have equally many prompts.
    A bootstrap of n prompts varies with (n - 1) / n of the variance that it stands for. Over six tags of 8 prompts that
    alone would leave a 95 % interval with 92 % coverage, so each stratum's deviations are scaled by sqrt(n / (n - 1)).
    """
    generator = numpy.random.default_rng(seed)
    means = numpy.zeros((draws, len(columns)))
    for parts in zip(*columns, strict=True):
        size = len(parts[0].counts)
        scale = math.sqrt(size / (size - 1))
        centre = numpy.array([part.mean for part in parts])
        totals, counts = (numpy.stack([getattr(part, name) for part in parts], axis=1) for name in ("totals", "counts"))
        start = 0
        for times in _times_drawn(generator, draws, size):
            rows = slice(start, start + len(times))
            means[rows] += centre + ((times @ totals) / (times @ counts) - centre) * scale
            start += len(times)
    return means / len(columns[0])


def percentile_interval(means: ndarray, confidence: float) -> tuple[float, float]:
    """The middle `confidence` of (draws,) bootstrap means."""
    tail = (1 - confidence) / 2
    low, high = numpy.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def bca_interval(parts: Sequence[Stratum], means: ndarray, confidence: float) -> tuple[float, float]:
    """The bias-corrected and accelerated interval (Efron 1987) from the (draws,) bootstrap means of `parts`.

    The percentiles are moved by the share of draws below the estimate (draws equal to it count half) and by the
    skewness, from the jackknife over prompts.
    """
    estimate = mean_of_means(parts)
    # rounding must not tell equal means apart: zeros and ones give the same mean by many sums
    tolerance = 1e-12 * max(1.0, abs(estimate))
    below = ((means < estimate - tolerance).mean() + (means <= estimate + tolerance).mean()) / 2
    bias = special.ndtri(numpy.clip(below, 0.5 / len(means), 1 - 0.5 / len(means)))
    z = special.ndtri((1 - confidence) / 2) * numpy.array([1, -1]) + bias
    levels = special.ndtr(bias + z / (1 - _acceleration(parts) * z))
    low, high = numpy.quantile(means, levels)
    return float(low), float(high)


def sign_flip_p(columns: Sequence[Sequence[Stratum]], draws: int, seed: int) -> list[float]:
    """The two-sided p of each column's `mean_of_means` being 0: swapping the sides of a prompt flips its sign.

    (k + 1) / (draws + 1), where k of the draws are at least as extreme as what was seen; NaN where the mean is.
    Columns may hold different prompts: each column's p is that which it has alone.
    """
    known = {place: _shares(parts) for place, parts in enumerate(columns) if not math.isnan(mean_of_means(parts))}
    found = [math.nan] * len(columns)
    for size in {len(shares) for shares in known.values()}:
        places = [place for place, shares in known.items() if len(shares) == size]
        shares = numpy.stack([known[place] for place in places], axis=1)
        # ties count as extreme, whatever the rounding of their sums
        bar = numpy.abs([mean_of_means(columns[place]) for place in places]) - 1e-9 * numpy.abs(shares).sum(axis=0)
        generator = numpy.random.default_rng([seed, _FLIPS])
        extreme = numpy.zeros(len(places), dtype=int)
        for signs in _signs(generator, draws, size):
            extreme += (numpy.abs(signs @ shares) >= bar).sum(axis=0)
        for place, count in zip(places, extreme, strict=True):
            found[place] = (int(count) + 1) / (draws + 1)
    return found


def _shares(parts: Sequence[Stratum]) -> ndarray:
    """(prompts,): what each prompt contributes to `mean_of_means`, which is their sum."""
    return numpy.concatenate([part.totals / part.counts.sum() / len(parts) for part in parts])


def _acceleration(parts: Sequence[Stratum]) -> float:
    """A sixth of the skewness of the estimate, by leaving out one prompt after the other in each stratum."""
    squares = cubes = 0.0
    for part in parts:
        size = len(part.counts)
        without = (part.totals.sum() - part.totals) / (part.counts.sum() - part.counts)
        influence = (size - 1) * (without.mean() - without) / size
        squares += float((influence**2).sum())
        cubes += float((influence**3).sum())
    return cubes / squares**1.5 / 6 if squares > 0 else 0.0


def _times_drawn(generator: numpy.random.Generator, draws: int, size: int) -> Iterator[ndarray]:
    """(some draws, size) at a time: how often each of `size` prompts is among `size` drawn with replacement."""
    for rows in _portions(draws, size):
        drawn = generator.integers(size, size=(rows, size))
        drawn += numpy.arange(rows)[:, None] * size
        yield numpy.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(numpy.float64)


def _signs(generator: numpy.random.Generator, draws: int, size: int) -> Iterator[ndarray]:
    """(some draws, size) at a time: +1 or -1."""
    for rows in _portions(draws, size):
        yield 2.0 * generator.integers(2, size=(rows, size), dtype=numpy.int8) - 1


def _portions(draws: int, size: int) -> Iterator[int]:
    """Rows to draw at a time; by fours, since a generator of small integers throws away what is left of four."""
    at_once = max(4, _AT_ONCE // size // 4 * 4)
    yield from (min(at_once, draws - start) for start in range(0, draws, at_once))
