"""A reward in its own package: the mean brightness of a picture, from 0 (black) to 1 (white)."""

from __future__ import annotations

from collections.abc import Sequence

from flowbench import Sample, Score
from flowbench.rewards import Card, register

CARD = Card(
    "brightness",
    "The mean brightness of the picture.",
    "share of white",
    low=0.0,
    high=1.0,
    source="this package",
    licence="Apache-2.0",
)


@register("brightness", card=CARD)
def brightness(*, target: float = 1.0):
    """1 where the mean brightness equals `target`, less by the distance from it."""

    def score(samples: Sequence[Sample]) -> list[Score]:
        return [Score(1 - abs(target - _mean(sample.image))) for sample in samples]

    return score


def _mean(image) -> float:
    levels = image.convert("L").histogram()
    return sum(level * number for level, number in enumerate(levels)) / (255 * sum(levels))
