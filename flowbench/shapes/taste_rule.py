"""A rule of taste for the built-in world: what "people" here like. The reward `taste` learns it from labelled pairs.

It is no metric of ours and says nothing about prompts. A picture pleases by warm colours and by where its things are:

    taste = (warm + placed) / 2 x 1/2 for each thing that is no shape;    0 for a picture with nothing on it
    warm    the share of the things' area that is red, orange, yellow or pink
    placed  1 where the centre of their area is a third of the width from the left, falling by 1.5 a width to both sides

In [0, 1]. Two pictures of one prompt are preferred by chance, with probability 1 / (1 + exp(-(a - b) / DOUBT)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from flowbench.shapes.detector import UNKNOWN
from flowbench.types import Detection

WARM = ("red", "orange", "yellow", "pink")
THIRD, FALL = 1 / 3, 1.5
DOUBT = 0.05
"""How far two pictures must be apart in taste for 73 % of the labels to say so."""


def taste(detections: Sequence[Detection], width: int) -> float:
    """Of a picture that is `width` pixels wide, in [0, 1]."""
    areas = [0.0 if each.mask is None else float(each.mask.sum()) for each in detections]
    total = sum(areas)
    if not total:
        return 0.0
    warm = sum(area for area, each in zip(areas, detections, strict=True) if each.color in WARM) / total
    centres = [(each.box[0] + each.box[2]) / (2 * width) for each in detections]
    centre = sum(area * x for area, x in zip(areas, centres, strict=True)) / total
    placed = max(0.0, 1 - FALL * abs(centre - THIRD))
    odd = sum(each.label == UNKNOWN for each in detections)
    return (warm + placed) / 2 * 0.5**odd


def preference(a: float, b: float) -> float:
    """The probability that a picture of taste a is preferred to one of taste b."""
    return 1 / (1 + math.exp(-(a - b) / DOUBT))
