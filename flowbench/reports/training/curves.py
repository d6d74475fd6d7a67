"""Training curves: every number of log.jsonl against its step, drawn as small SVG charts.

A long log is drawn in buckets of steps: the line is the bucket's mean, the pale band its lowest and highest value, so
that a spike of a single step stays visible.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 320, 150
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 8, 20  # margins for the axis labels, in the chart's own pixels
MAX_BUCKETS = 120
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


def grouped(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Curves by what stands before the first "/" of their names: what was asked of the run first, timing last."""
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        prefix, separator, _ = curve.name.partition("/")
        groups.setdefault(prefix if separator else "other", []).append(curve)
    return {name: groups[name] for name in sorted(groups, key=_group_rank)}


def to_svg(curve: Curve) -> str:
    """The chart as an <svg> element; colours come from the page (`currentColor` and the classes band, line, grid)."""
    buckets = _buckets(curve.points)
    x_low, x_high = curve.points[0][0], curve.points[-1][0]
    y_low, y_high = _limits([low for _, low, _, _ in buckets], [high for _, _, _, high in buckets])

    def place(x: float, y: float) -> str:
        across = 0.5 if x_high == x_low else (x - x_low) / (x_high - x_low)
        up = (y - y_low) / (y_high - y_low)
        return f"{LEFT + across * (WIDTH - LEFT - RIGHT):.1f},{HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM):.1f}"

    band = [place(x, high) for x, _, _, high in buckets] + [place(x, low) for x, low, _, _ in reversed(buckets)]
    line = [place(x, mean) for x, _, mean, _ in buckets]
    end_x, end_y = line[-1].split(",")
    return "".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">',
            *_grid(y_low, y_high),
            _text(LEFT, HEIGHT - 5, "start", short(x_low)),
            _text(WIDTH - RIGHT, HEIGHT - 5, "end", short(x_high)),
            f'<polygon class="band" points="{" ".join(band)}"/>',
            f'<polyline class="line" points="{" ".join(line)}"/>',
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
            yield f"{prefix}{key}", float(value)


def _buckets(points: Sequence[tuple[float, float]]) -> list[tuple[float, float, float, float]]:
    """(mean step, lowest, mean, highest) of equal runs of points, at most MAX_BUCKETS of them."""
    size = math.ceil(len(points) / MAX_BUCKETS)
    buckets = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        values = [value for _, value in part]
        steps = [step for step, _ in part]
        buckets.append((sum(steps) / len(part), min(values), sum(values) / len(part), max(values)))
    return buckets


def _limits(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
    """The chart's range; values that differ by rounding only are drawn as equal ones."""
    low, high = min(lows), max(highs)
    flat = high - low <= 1e-9 * max(abs(low), abs(high))
    margin = (abs(low) * 0.1 or 1.0) if flat else (high - low) * 0.06
    return low - margin, high + margin


def _grid(low: float, high: float) -> Iterator[str]:
    ticks = _ticks(low, high)
    for tick in ticks:
        y = HEIGHT - BOTTOM - (tick - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(LEFT - 5, y + 3.5, "end", _tick_label(tick, ticks[1] - ticks[0]))


def _ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers (1, 2 or 5 times a power of ten apart) in [low, high]."""
    rough = (high - low) / 5  # the step is at most 2.5 times this, so that two always fit
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step)
    return [count * step for count in range(first, math.floor(high / step) + 1)]


def _tick_label(tick: float, step: float) -> str:
    """As many decimals as tell neighbours apart."""
    if step < 1e-4 or step >= 1e4:
        mantissa, exponent = f"{tick:.1e}".split("e")
        return "0" if tick == 0 else f"{mantissa.removesuffix('.0')}e{int(exponent)}"  # "-2e-5": the margin is narrow
    return f"{tick:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _text(x: float, y: float, anchor: str, words: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _group_rank(name: str) -> tuple[int, str]:
    if name in FIRST_GROUPS:
        return FIRST_GROUPS.index(name), name
    return len(FIRST_GROUPS) + (name in LAST_GROUPS), name
