"""Signs that pictures become alike: what is measured of a panel, and how far it is from the base's, in its own spread.

A panel is N prompts with M pictures each, of the same seeds for policy and base. Most signals are a number per prompt:
their distance is the difference of the means, divided by the base's standard deviation between prompts. The palette is
one number of all pictures: its distance is the difference, divided by its standard deviation under a bootstrap over the
base's prompts. So no line depends on what the pictures show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from flowbench.metrics.grid import measure_grid
from flowbench.metrics.picture_statistics import luma, mean_saturation, share_of_edges
from flowbench.metrics.placement import bits, occupancy, unshared

DRAWS, SEED = 200, 0
"""Of the bootstrap."""
PANEL = 16
"""Prompts of the panel on which the lines were drawn (docs/decisions/0025)."""
NO_SPREAD = 1e-9
"""A spread up to here is rounding."""


@dataclass(frozen=True)
class Signal:
    """One number to watch, and the lines that it must not cross."""

    name: str
    meaning: str
    """what has happened when it is beyond a line, as the end of a sentence"""
    least: float = -math.inf
    """distance from the base below which it is an alarm"""
    most: float = math.inf
    """distance above which it is one"""

    def is_beyond(self, distance: float) -> bool:
        """Whether the distance is an alarm; one that is not known is none."""
        return distance < self.least or distance > self.most


SIGNALS = (
    Signal("placement", "pictures of one prompt are alike in where things are", least=-1.0),
    Signal("palette", "pictures have few colours, and the same ones", least=-3.0),
    Signal("edges", "pictures are much busier, or much emptier, than the base's", least=-1.5, most=1.5),
    Signal("saturation", "colours are much stronger, or much greyer, than the base's", least=-1.5, most=1.5),
    Signal("lattice", "fine structure repeats over the picture", most=1.5),
)
PER_PROMPT = ("placement", "edges", "saturation", "lattice")


@dataclass(frozen=True)
class Look:
    """One panel, measured."""

    values: numpy.ndarray
    """(N, 4) float64: of each prompt, in the order of PER_PROMPT"""
    colors: numpy.ndarray
    """(N, M, 3) in [0, 1]: the mean colour of what is on each picture; NaN where nothing is"""


def measured(rows: Sequence[Sequence[numpy.ndarray]]) -> Look:
    """N prompts with at most M pictures each, (H, W, 3) uint8. One with a single picture has no placement."""
    most = max(map(len, rows), default=0)
    values, colors = [], numpy.full((len(rows), most, 3), math.nan)
    for row, pictures in enumerate(rows):
        found = [occupancy(pixels) for pixels in pictures]
        values.append(
            (
                unshared([fields for fields, _ in found]) if len(found) > 1 else math.nan,
                float(numpy.mean([share_of_edges(pixels) for pixels in pictures])),
                float(numpy.mean([mean_saturation(pixels) for pixels in pictures])),
                float(numpy.mean([measure_grid(luma(pixels)).energy for pixels in pictures])),
            )
        )
        colors[row, : len(found)] = [color if fields.any() else numpy.full(3, math.nan) for fields, color in found]
    return Look(numpy.array(values), colors)


def together(looks: Sequence[Look]) -> Look:
    """One panel of the prompts of several."""
    most = max((look.colors.shape[1] for look in looks), default=0)
    padded = [
        numpy.pad(look.colors, ((0, 0), (0, most - look.colors.shape[1]), (0, 0)), constant_values=math.nan)
        for look in looks
    ]
    if not looks:
        return Look(numpy.zeros((0, len(PER_PROMPT))), numpy.zeros((0, 0, 3)))
    return Look(numpy.concatenate([look.values for look in looks]), numpy.concatenate(padded))


def level(look: Look) -> dict[str, float]:
    """Each signal's value: means over prompts, and the palette in bits."""
    means = dict(zip(PER_PROMPT, look.values.mean(axis=0).tolist(), strict=True))
    return {**means, "palette": palette(look.colors)}


def distances(now: Look, base: Look) -> dict[str, float]:
    """Of each signal, in the base's spread; NaN where the base has none. The same prompts, in the same order.

    A prompt without a number on one side takes no part. The palette's spread is that of PANEL prompts, on which its
    line was drawn, however many there are.
    """
    found = {}
    for name, ours, theirs in zip(PER_PROMPT, now.values.T, base.values.T, strict=True):
        known = ~numpy.isnan(ours) & ~numpy.isnan(theirs)
        spread = float(theirs[known].std(ddof=1)) if known.sum() > 1 else 0.0
        found[name] = _ratio(float((ours - theirs)[known].mean()) if known.any() else math.nan, spread)
    if not len(base.colors):
        return {**found, "palette": math.nan}
    rows = min(len(base.colors), PANEL)
    draws = numpy.random.default_rng(SEED).integers(0, len(base.colors), (DRAWS, rows))
    spread_of_palette = float(numpy.std([palette(base.colors[some]) for some in draws]))
    return {**found, "palette": _ratio(palette(now.colors) - palette(base.colors), spread_of_palette)}


def palette(colors: numpy.ndarray) -> float:
    """(..., 3) -> bits, over the pictures with something on them; 0 where none has."""
    flat = colors.reshape(-1, 3)
    known = flat[~numpy.isnan(flat).any(axis=1)]
    return bits(known) if len(known) else 0.0


def _ratio(moved: float, spread: float) -> float:
    return moved / spread if spread > NO_SPREAD else math.nan
