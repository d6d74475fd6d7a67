"""Lines of text found on a picture, and the order in which they are read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Point = tuple[float, float]


class Line(NamedTuple):
    """One line: its text, the recogniser's confidence in [0, 1], its four corners (x, y) in pixels, clockwise from the
    line's own top left."""

    text: str
    confidence: float
    corners: tuple[Point, ...]


class Reading(NamedTuple):
    """All that was read, lines joined by spaces, and the mean confidence of the lines (NaN without any)."""

    text: str
    confidence: float


def read(lines: Iterable[Line], *, min_confidence: float = 0.0) -> Reading:
    """The lines in reading order. Those of confidence 0, below `min_confidence` or without a character are left out.

    Only spaces around a line fall away: other white space counts in the published rule.
    """
    kept = [line for line in lines if line.confidence > 0 and line.confidence >= min_confidence and line.text.strip()]
    ordered = reading_order(kept)
    confidence = sum(line.confidence for line in ordered) / len(ordered) if ordered else math.nan
    return Reading(" ".join(line.text.strip(" ") for line in ordered), confidence)


def reading_order(lines: Sequence[Line]) -> list[Line]:
    """From top to bottom, and from left to right within a row.

    Going down by the height of their centres, a line belongs to the row of the one before it when the two centres are
    at most half a line height (the smaller one's) apart. So words side by side stay together on a slightly tilted row,
    and two columns are read across, row by row.
    """
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: (_center(line)[1], _center(line)[0], line.text)):
        before = rows[-1][-1] if rows else None
        if before and _center(line)[1] - _center(before)[1] <= min(_height(before), _height(line)) / 2:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=_center)]


def _center(line: Line) -> Point:
    return sum(x for x, _ in line.corners) / 4, sum(y for _, y in line.corners) / 4


def _height(line: Line) -> float:
    """The mean length of the sides from top to bottom: a tilted line is no higher for its tilt."""
    top_left, top_right, bottom_right, bottom_left = line.corners
    return (math.dist(top_left, bottom_left) + math.dist(top_right, bottom_right)) / 2
