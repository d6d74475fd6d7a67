"""Small charts that stand in the rows of a table: a bar or a point with its interval, a histogram, a difference.

Each is an <svg> that stretches to the width it is given; words stand beside it in HTML, where they wrap. Colours come
from the page's style by class. Nothing but numbers of ours goes in, so that nothing is to be escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from flowbench.reports.tables.cells import number

if TYPE_CHECKING:
    from flowbench.stats.intervals import Interval

HEIGHT = 14  # of one line; the width is 100, stretched
BINS = 32


@dataclass(frozen=True)
class Axis:
    """What the chart's left and right edge stand for; `bars` begin at the left edge, else a point marks the value."""

    low: float
    high: float
    bars: bool

    def place(self, value: float) -> float:
        """In [0, 100]."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)


SHARES = Axis(0.0, 1.0, bars=True)


def axis_for(entries: Sequence[Interval | None], *, share: bool) -> Axis:
    """From 0 to 1 for shares; else wide enough for every mean and bound, with a margin."""
    if share:
        return SHARES
    found = [end for entry in entries if entry is not None for end in (entry.mean, entry.low, entry.high)]
    ends = [end for end in found if not math.isnan(end)]
    if not ends:
        return SHARES
    margin = (max(ends) - min(ends)) * 0.08 or abs(max(ends)) * 0.05 or 1.0
    return Axis(min(ends) - margin, max(ends) + margin, bars=False)


def lines(entries: Sequence[Interval | None], axis: Axis) -> Markup:
    """One line per entry (None = not measured), one below the other; the last in the page's accent."""
    height = HEIGHT * len(entries)
    shapes = [_vertical("grid", x, 0, height) for x in (0, 25, 50, 75, 100)] if axis.bars else []
    for place, each in enumerate(entries):
        kind, top = ("now" if place == len(entries) - 1 else "was"), place * HEIGHT
        if each is None or math.isnan(each.mean):
            continue
        middle = axis.place(each.mean)
        if axis.bars:
            shapes.append(f'<rect class="{kind}" x="0" y="{top + 2}" width="{middle}" height="{HEIGHT - 4}"/>')
        if not math.isnan(each.low):
            low, high = axis.place(each.low), axis.place(each.high)
            shapes.append(_whisker(low, high, top + HEIGHT / 2, f"{kind} on-bar" if axis.bars else kind))
        if not axis.bars:
            shapes.append(_vertical(f"dot {kind}", middle, top + 2, HEIGHT - 4))
    spoken = ", ".join(said(each) for each in entries)
    return _svg(shapes, height, spoken)


def histogram(values: Sequence[Sequence[float]], entries: Sequence[Interval | None]) -> Markup:
    """How the values of each side are spread, all on one axis, with a tick at each side's mean; sorted values in."""
    every = [value for side in values for value in side]
    if not every:
        return Markup("")
    low, high = min(every), max(every)
    axis = Axis(low, high if high > low else low + 1.0, bars=False)
    shapes = []
    tallest = max(count for side in values for count in _counts(side, axis)) or 1
    for place, (side, each) in enumerate(zip(values, entries, strict=True)):
        kind, top = ("now" if place == len(values) - 1 else "was"), place * HEIGHT * 2
        wide = 100 / BINS
        for position, count in enumerate(_counts(side, axis)):
            tall = round(count / tallest * (HEIGHT * 2 - 3), 2)
            if count:
                shapes.append(
                    f'<rect class="{kind}" x="{position * wide:.2f}" y="{top + HEIGHT * 2 - tall:.2f}" '
                    f'width="{wide - 0.4:.2f}" height="{tall}"/>'
                )
        if each is not None and not math.isnan(each.mean):
            shapes.append(_vertical("mean", axis.place(each.mean), top, HEIGHT * 2))
    spoken = f"values from {number(low)} to {number(high)}"
    return _svg(shapes, HEIGHT * 2 * len(values), spoken)


def difference(middle: float, low: float, high: float, reach: float) -> Markup:
    """A difference with its interval around zero, which is in the middle; `reach` is what the edges stand for."""
    shapes = [_vertical("zero", 50, 0, HEIGHT)]
    if not math.isnan(middle):
        axis = Axis(-reach, reach, bars=False)
        known = not math.isnan(low)
        sure = "sure" if known and (low > 0 or high < 0) else "unsure"
        if known:
            shapes.append(_whisker(axis.place(low), axis.place(high), HEIGHT / 2, sure))
        shapes.append(_vertical(f"dot {sure}", axis.place(middle), 2, HEIGHT - 4))
    return _svg(shapes, HEIGHT, f"difference {number(middle)}")


def said(entry: Interval | None) -> str:
    """'0.512, 95 % interval 0.480 to 0.544'."""
    if entry is None or math.isnan(entry.mean):
        return "not measured"
    if math.isnan(entry.low):
        return number(entry.mean)
    bounds = f"{number(entry.low)} to {number(entry.high)}"
    return f"{number(entry.mean)}, {100 * entry.confidence:g} % interval {bounds}"


def _counts(values: Sequence[float], axis: Axis) -> list[int]:
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int((value - axis.low) / (axis.high - axis.low) * BINS))] += 1
    return counts


def _whisker(low: float, high: float, y: float, kind: str) -> str:
    ends = "".join(f"M{x} {y - 3}V{y + 3}" for x in (low, high))
    return f'<path class="whisker {kind}" d="M{low} {y}H{high}{ends}"/>'


def _vertical(kind: str, x: float, top: float, height: float) -> str:
    return f'<path class="{kind}" d="M{x} {top}v{height}"/>'


def _svg(shapes: Sequence[str], height: float, spoken: str) -> Markup:
    return Markup(
        f'<svg viewBox="0 0 100 {height:g}" height="{height:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{spoken}">{"".join(shapes)}</svg>'
    )
