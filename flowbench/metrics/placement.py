"""Where pictures have something, and in which colours: diversity without a network and without a detector.

For pictures of things on a plain ground (the built-in worlds), and whatever else stands out from its border. A policy
that always paints in one place or in two colours is found out by these two before a detector's verdict suffers:
docs/decisions/0025 has four training runs. On photographs the ground is no ground; take `lpips_diversity` there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean

import numpy
from PIL import Image

from flowbench.images import border_color, to_array
from flowbench.metrics.catalog import register
from flowbench.metrics.too_few import too_few_of_prompt
from flowbench.rewards.card import Card
from flowbench.types import Sample, Score

FIELDS = 8
"""A picture is looked at in FIELDS x FIELDS fields."""
FAINT, CLEAR = 30.0, 60.0
"""Levels of 255, in the channel that differs most, by which a pixel must differ from the border's median colour to
count at all, and to count fully."""
SHADES = 3
"""Equal ranges of each channel that a mean colour is counted in: 27 colours."""

_card = partial(
    Card, low=0.0, direction="higher", licence="none needed", reference="none published: the measure is ours",
    preprocessing="what differs from the border's median colour, at the picture's own size",
)  # fmt: skip
PLACEMENT_CARD = _card(
    "placement_diversity",
    "How little the places overlap where a prompt's pictures have something: 0 is one place.",
    "share not shared", high=1.0, source="ours: 1 - overlap of normalised 8 x 8 maps, mean over pairs",
)  # fmt: skip
PALETTE_CARD = _card(
    "palette_entropy",
    "How many colours the pictures have, each by the mean colour of what is on it: 0 is one colour.",
    "bits", high=math.log2(SHADES**3), source="ours: Shannon entropy over 3 x 3 x 3 colours",
)  # fmt: skip


@register("placement_diversity", card=PLACEMENT_CARD, level="prompt")
def placement_diversity() -> Callable[[Sequence[Sample]], Score]:
    """The mean of 1 - overlap over all pairs of a prompt's pictures. Two with nothing on them are alike."""

    def metric(samples: Sequence[Sample]) -> Score:
        lacking = too_few_of_prompt("placement_diversity", samples)
        return lacking or Score(unshared([occupancy(to_array(sample.image))[0] for sample in samples]))

    return metric


@register("palette_entropy", card=PALETTE_CARD, level="set", compares=False)
def palette_entropy() -> Callable[[Sequence[Sample]], Score]:
    """Of all pictures with something on them. It grows with their number: compare equal numbers of pictures."""

    def metric(samples: Sequence[Sample]) -> Score:
        found = [occupancy(to_array(sample.image)) for sample in samples]
        colors = [color for fields, color in found if fields.any()]
        if len(colors) < 2:
            return Score.unscored(
                f"palette_entropy compares pictures with something on them, and found {len(colors)}. Give 2 or more."
            )
        return Score(bits(numpy.stack(colors)), details={"pictures": len(colors)})

    return metric


def occupancy(pixels: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """(H, W, 3) uint8 -> how what stands out from the ground is spread over the fields, (FIELDS, FIELDS), sum 1 (all 0
    where nothing does), and its mean colour, (3,) in [0, 1]."""
    difference = numpy.abs(pixels.astype(numpy.float32) - border_color(pixels)).max(axis=-1)
    weight = numpy.where(difference < FAINT, 0, numpy.minimum(difference / CLEAR, 1)).astype(numpy.float32)
    total = float(weight.sum())
    if not total:
        return numpy.zeros((FIELDS, FIELDS)), numpy.zeros(3)
    fields = numpy.asarray(Image.fromarray(weight).resize((FIELDS, FIELDS), Image.Resampling.BOX), dtype=numpy.float64)
    return fields / fields.sum(), (pixels * weight[..., None]).sum(axis=(0, 1)) / total / 255


def unshared(maps: Sequence[numpy.ndarray]) -> float:
    """Mean over all pairs of maps, each of sum 1 or 0, of 1 - the sum of their smaller values: in [0, 1]. Two maps of
    nothing share all: a policy that has come to paint nothing is not varied."""
    return fmean(
        1 - float(numpy.minimum(a, b).sum()) if a.any() or b.any() else 0.0 for a, b in itertools.combinations(maps, 2)
    )


def bits(colors: numpy.ndarray) -> float:
    """(N, 3) colours in [0, 1] -> entropy in bits of their histogram over SHADES^3 cells."""
    cells = numpy.minimum((colors * SHADES).astype(int), SHADES - 1) @ numpy.array([SHADES**2, SHADES, 1])
    counts = numpy.bincount(cells)
    shares = counts[counts > 0] / len(cells)
    return float(max(-(shares * numpy.log2(shares)).sum(), 0.0))
