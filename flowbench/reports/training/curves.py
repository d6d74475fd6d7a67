"""Training curves: every number of a run's log against its step, drawn as small SVG charts.

The values as logged are drawn pale, a smoothed line over them. A long log is drawn in buckets of steps: both lines are
means over the bucket, the band its lowest and highest value, so that a spike of a single step stays visible.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

WIDTH, HEIGHT = 320, 150
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 8, 20  # margins for the axis labels, in the chart's own pixels
MAX_BUCKETS = 240
SMOOTHING = 0.9
"""Of the smoothed line, how much of its last value goes into the next one: it looks back over about ten values."""
FEWEST_SMOOTHED = 30
"""A curve of fewer values is drawn as it is: that little would show the smoothed line's lag, and no trend."""
FIRST_GROUPS = ("reward", "eval", "policy")
LAST_GROUPS = ("timing",)


@dataclass(frozen=True)
class Curve:
    """One logged number: `points` are (step, value), by step, all finite; `gaps` counts what was not finite."""

    name: str
    points: tuple[tuple[float, float], ...]
    gaps: int = 0

    @property
    def last(self) -> float:
        return self.points[-1][1]

    @cached_property
    def trend(self) -> tuple[tuple[float, float], ...]:
        """The smoothed line, a value for each point; () for a curve of fewer than FEWEST_SMOOTHED points."""
        if len(self.points) < FEWEST_SMOOTHED:
            return ()
        averages = smoothed([value for _, value in self.points])
        return tuple((step, average) for (step, _), average in zip(self.points, averages, strict=True))


def read_curves(log: Iterable[Mapping[str, Any]]) -> list[Curve]:
    """All numeric keys of the log's lines, nested ones as "outer/inner", in the order in which they first appear.

    A step that is logged again (after a resume) counts as it was logged last.
    """
    values: dict[str, dict[float, float]] = {}
    for line in log:
        if line.get("step") is None:
            continue
        for name, value in _numbers(line):
            if name != "step":
                values.setdefault(name, {})[float(line["step"])] = value
    curves = []
    for name, by_step in values.items():
        points = tuple((step, value) for step, value in sorted(by_step.items()) if math.isfinite(value))
        if points:
            curves.append(Curve(name, points, gaps=len(by_step) - len(points)))
    return curves


def smoothed(values: Sequence[float], weight: float = SMOOTHING) -> list[float]:
    """The debiased exponential moving average: at each value the mean of all up to it, in which every step back counts
    `weight` times as much. (TensorBoard's smoothing; debiased: it begins at the first value, and not near 0.)
    """
    averages, total, held = [], 0.0, 0.0
    for value in values:
        total, held = weight * total + (1 - weight) * value, weight * held + (1 - weight)
        averages.append(total / held)
    return averages


def grouped(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Curves by what stands before the first "/" of their names: what was asked of the run first, timing last."""
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        prefix, separator, _ = curve.name.partition("/")
        groups.setdefault(prefix if separator else "other", []).append(curve)
    firsts = [name for name in FIRST_GROUPS if name in groups]
    others = sorted(groups.keys() - {*FIRST_GROUPS, *LAST_GROUPS})
    return {name: groups[name] for name in (*firsts, *others, *LAST_GROUPS) if name in groups}


def to_svg(curve: Curve) -> str:
    """The chart as an <svg>; colours come from the page (classes grid, band, raw, line and end, and the text's own)."""
    size = math.ceil(len(curve.points) / MAX_BUCKETS)
    x_low, x_high = curve.points[0][0], curve.points[-1][0]
    y_low, y_high = min(value for _, value in curve.points), max(value for _, value in curve.points)
    is_flat = y_high - y_low <= 1e-9 * max(abs(y_low), abs(y_high))  # but for rounding
    margin = (abs(y_low) * 0.1 or 1.0) if is_flat else (y_high - y_low) * 0.06
    y_low, y_high = y_low - margin, y_high + margin

    def place(x: float, y: float) -> str:
        across = 0.5 if x_high == x_low else (x - x_low) / (x_high - x_low)
        up = (y - y_low) / (y_high - y_low)
        return f"{LEFT + across * (WIDTH - LEFT - RIGHT):.1f},{HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM):.1f}"

    def drawn(points: Sequence[tuple[float, float]], height: Callable[[list[float]], float]) -> list[str]:
        """A place for each bucket: at its mean step, and as high as `height` makes of its values."""
        buckets = [points[start : start + size] for start in range(0, len(points), size)]
        return [place(_mean([x for x, _ in bucket]), height([y for _, y in bucket])) for bucket in buckets]

    raw, trend = drawn(curve.points, _mean), drawn(curve.trend, _mean)
    band = [*drawn(curve.points, max), *reversed(drawn(curve.points, min))]
    end_x, end_y = (trend or raw)[-1].split(",")
    said = f"{short(curve.points[0][1])} at step {short(x_low)}, {short(curve.last)} at step {short(x_high)}"
    return "".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}" xmlns="http://www.w3.org/2000/svg">',
            *_grid(y_low, y_high),
            _text(LEFT, HEIGHT - 5, "start", short(x_low)),
            _text(WIDTH - RIGHT, HEIGHT - 5, "end", short(x_high)),
            f'<polygon class="band" points="{" ".join(band)}"/>' if size > 1 else "",
            f'<polyline class="{"raw" if trend else "line"}" points="{" ".join(raw)}"/>',
            f'<polyline class="line" points="{" ".join(trend)}"/>' if trend else "",
            f'<circle class="end" cx="{end_x}" cy="{end_y}" r="2.5"/></svg>',
        ]
    )


def short(value: float) -> str:
    """A number in a few characters: '0.0123', '1.2e-05', '1200'."""
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.1e}"
    return f"{value:.4g}"


def _numbers(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in line.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif value is None:  # how a log writes NaN
            yield f"{prefix}{key}", math.nan
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{key}", float(value) if abs(value) < 1e300 else math.inf


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _grid(low: float, high: float) -> Iterator[str]:
    """Two to six lines at round values (1, 2 or 5 times a power of ten apart) in [low, high], each with its number: as
    many decimals as tell neighbours apart, and "-2e-5" where that would not fit the narrow margin."""
    rough = (high - low) / 5  # the step is at most 2.5 times this, so that two always fit
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    for count in range(math.ceil(low / step), math.floor(high / step) + 1):
        tick = count * step
        number = f"{tick:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
        if step < 1e-4 or step >= 1e4:
            mantissa, exponent = f"{tick:.1e}".split("e")
            number = f"{mantissa.removesuffix('.0')}e{int(exponent)}" if tick else "0"
        y = HEIGHT - BOTTOM - (tick - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(LEFT - 5, y + 3.5, "end", number)


def _text(x: float, y: float, anchor: str, words: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'
