"""Statistics of one picture without a network: edges, colours, saturation. They describe; none says "better".

Training against a reward can make pictures busier, flatter or more colourful while the reward only rises. Compare a
model with its own beginning on the same prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy

from flowbench.errors import ConfigError
from flowbench.images import to_array
from flowbench.metrics.catalog import register
from flowbench.rewards.card import Card
from flowbench.types import RewardFunction, Sample, Score

LUMA = numpy.array([0.299, 0.587, 0.114])
"""Weights of R, G, B: ITU-R BT.601."""

EDGE_CARD = Card("edge_density", "How much of the picture is edge: higher is busier.", "share of pixels", 0.0, 1.0,
                 "none", source="Sobel operator; the threshold is ours", licence="none needed",
                 preprocessing="luma (BT.601) at the picture's own size")  # fmt: skip
ENTROPY_CARD = Card("color_entropy", "How many colours the picture spreads over: 0 is one flat colour.", "bits", 0.0,
                    9.0, "none", source="Shannon entropy of an 8 x 8 x 8 RGB histogram; the bins are ours",
                    licence="none needed", preprocessing="RGB at the picture's own size")  # fmt: skip
SATURATION_CARD = Card("saturation", "How far the colours are from grey.", "mean of HSV's S", 0.0, 1.0, "none",
                       source="HSV by Smith 1978", licence="none needed",
                       preprocessing="RGB at the picture's own size")  # fmt: skip


@register("edge_density", card=EDGE_CARD)
def edge_density(*, threshold: float = 0.1) -> RewardFunction:
    """The share of pixels on an edge; `threshold` is the step, as a share of black to white, that counts as one."""
    if not 0 < threshold < 1:
        raise ConfigError(f"metric 'edge_density': threshold is {threshold}. Give a number between 0 and 1.")
    return _each(lambda pixels: share_of_edges(pixels, threshold))


@register("color_entropy", card=ENTROPY_CARD)
def color_entropy() -> RewardFunction:
    """The entropy of the picture's colours, in bits."""
    return _each(entropy_of_colors)


@register("saturation", card=SATURATION_CARD)
def saturation() -> RewardFunction:
    """The mean saturation."""
    return _each(mean_saturation)


def luma(pixels: numpy.ndarray) -> numpy.ndarray:
    """(H, W, 3) RGB in 0..255 -> (H, W) float64 in 0..255."""
    return pixels.astype(numpy.float64) @ LUMA


def share_of_edges(pixels: numpy.ndarray, threshold: float = 0.1) -> float:
    """(H, W, 3) uint8 -> share of pixels whose Sobel gradient of the luma is that of a step higher than `threshold`.

    Magnitude = sqrt(gx^2 + gy^2) with the kernels [-1 0 1] x [1 2 1]; pixels beyond the border repeat it. An upright
    step of height h has the magnitude 4 h on the two pixels beside it, so a pixel counts above 4 x 255 x threshold.
    """
    padded = numpy.pad(luma(pixels), 1, mode="edge")
    across = padded[:, 2:] - padded[:, :-2]
    down = padded[2:] - padded[:-2]
    gradient_x = across[:-2] + 2 * across[1:-1] + across[2:]
    gradient_y = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    return float((numpy.hypot(gradient_x, gradient_y) > 4 * 255 * threshold).mean())


def entropy_of_colors(pixels: numpy.ndarray) -> float:
    """(H, W, 3) uint8 -> entropy in bits of the joint histogram of colours, each channel cut into 8 equal ranges.

    0 for a flat picture, 1 for two colours in equal shares, at most log2(512) = 9.
    """
    cells = (pixels >> 5).reshape(-1, 3).astype(numpy.int64) @ numpy.array([64, 8, 1])
    counts = numpy.bincount(cells, minlength=512)
    shares = counts[counts > 0] / counts.sum()
    return float(max(-(shares * numpy.log2(shares)).sum(), 0.0))


def mean_saturation(pixels: numpy.ndarray) -> float:
    """(H, W, 3) uint8 -> mean of (max - min) / max over the channels of each pixel; black counts as 0."""
    highest = pixels.max(axis=-1).astype(numpy.float64)
    spread = highest - pixels.min(axis=-1)
    return float(numpy.divide(spread, highest, out=numpy.zeros_like(spread), where=highest > 0).mean())


def _each(measure: Callable[[numpy.ndarray], float]) -> RewardFunction:
    def metric(samples: Sequence[Sample]) -> list[Score]:
        return [Score(measure(to_array(sample.image))) for sample in samples]

    return metric
