"""Grid energy: an alarm for lattices over a picture, as models trained against a reward grow them.

Such grids are reported for flow_grpo (issue 233, "very small grids on human face and background"), DanceGRPO (issue
36) and FLUX (black-forest-labs/flux issue 406). No published measure was found: this one is ours. It is the largest
share of the picture's fine structure that comes back after a shift and was not there half-way. What merely stays the
same along a shift (an edge along its own direction, a smooth surface) does not count; a pattern that ends and comes
back does.

Legitimate repetition (window fronts, print, tiles) counts too, so compare a model with its own beginning on the same
prompts. As a scale, measured: 0.01 to 0.11 for sixteen pictures of scikit-image; for its cat 0.02, and with a
checkerboard of 4 px cells over it that is 8 or 32 grey levels strong 0.20 or 0.74. Lines of 1 px, one every 16, show
from 8 levels on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy

from flowbench.images import to_array
from flowbench.metrics.catalog import register
from flowbench.metrics.picture_statistics import luma
from flowbench.rewards.card import Card
from flowbench.types import RewardFunction, Sample, Score

SHORTEST = 8
"""Pixels. Sharpening and JPEG leave echoes of 2 to 5 px; a lattice comes back at odd multiples of its period too."""
CARD = Card("grid_energy", "How much of the fine structure repeats as a lattice: an alarm for grid artefacts.",
            "share of gradient energy", 0.0, 1.0, "lower", source="ours: autocorrelation of the luma's gradient",
            licence="none needed", preprocessing="luma (BT.601) at the picture's own size")  # fmt: skip


class Grid(NamedTuple):
    """`energy` in [0, 1]; `lag`: the shortest shift (down, across; pixels) that reaches it to within 1 %."""

    energy: float
    lag: tuple[int, int]


@register("grid_energy", card=CARD)
def grid_energy() -> RewardFunction:
    """The largest share of the fine structure that repeats; `details` has the shift in pixels, [down, across]."""

    def metric(samples: Sequence[Sample]) -> list[Score]:
        return [_score(to_array(sample.image)) for sample in samples]

    return metric


def _score(pixels: numpy.ndarray) -> Score:
    if min(pixels.shape[:2]) < 2 * SHORTEST:
        return Score.unscored(f"grid_energy needs pictures of {2 * SHORTEST} px or more on each side.")
    found = measure_grid(luma(pixels))
    return Score(found.energy, details={"lag": list(found.lag)})


def measure_grid(brightness: numpy.ndarray) -> Grid:
    """(H, W) float -> the largest of r(lag) - max(r(lag / 2), 0) over lags of 8 px to half of each side.

    r is the circular autocorrelation of the differences between neighbours (both directions), 1 at lag 0. Natural
    pictures' power falls as 1 / frequency^2 (Field 1987), which the differences undo, so that large shapes do not drown
    a lattice. Where lag / 2 lies between pixels, r there is the mean of its neighbours. 1 for a lattice that fills the
    picture a whole number of times and whose r is not positive half-way (sines, checkerboards, thin lines of an even
    period), 0.5 for two equal things on an empty ground, about sqrt(2 ln N / N) for white noise of N pixels, 0 for a
    flat picture.
    """
    correlation = _autocorrelation(brightness)
    height, width = brightness.shape
    down = numpy.arange(height // 2 + 1)  # r(-lag) = r(lag): half of all lags is enough
    across = numpy.arange(width // 2, -(width // 2) - 1, -1)
    length = numpy.hypot(down[:, None], across)
    gain = correlation[numpy.ix_(down, across)] - _half_way(correlation, down, across).clip(min=0)
    gain[length < SHORTEST] = 0
    energy = float(gain.max().clip(0, 1))
    if energy == 0:
        return Grid(0.0, (0, 0))
    row, column = numpy.unravel_index(numpy.where(gain >= 0.99 * energy, length, numpy.inf).argmin(), gain.shape)
    return Grid(energy, (int(down[row]), int(across[column])))


def _autocorrelation(brightness: numpy.ndarray) -> numpy.ndarray:
    """(H, W) -> (H, W), by Wiener and Khinchin; indices wrap, so that [-1] is the lag -1. All 0 for a flat picture."""
    power = numpy.abs(numpy.fft.fft2(brightness - brightness.mean())) ** 2
    slope_y, slope_x = (2 - 2 * numpy.cos(2 * numpy.pi * numpy.fft.fftfreq(size)) for size in brightness.shape)
    energy = power * (slope_y[:, None] + slope_x)  # |1 - exp(-i k)|^2: the spectrum of the differences
    if energy.sum() < 1e-6 * brightness.size:  # rounding: real differences are of 1 / 1000 of a level or more
        return numpy.zeros_like(brightness)
    correlation = numpy.fft.ifft2(energy).real
    return correlation / correlation[0, 0]


def _half_way(correlation: numpy.ndarray, down: numpy.ndarray, across: numpy.ndarray) -> numpy.ndarray:
    """r at half of each lag: (len(down), len(across))."""
    rows, columns = ((lags // 2, -(-lags // 2)) for lags in (down, across))
    return sum(correlation[numpy.ix_(row, column)] for row in rows for column in columns) / 4
