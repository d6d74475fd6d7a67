"""Numbers as the text of a cell. A dash is "not measured", never 0."""

from __future__ import annotations

import math

from flowbench.stats.intervals import Interval
from flowbench.stats.paired import Paired

DASH = "–"
ARROWS = {"higher": "↑", "lower": "↓", "none": ""}


def number(value: float | None) -> str:
    """Three decimals, or a dash."""
    return DASH if value is None or math.isnan(value) else f"{value:.3f}"


def bounded(interval: Interval | None) -> str:
    """'0.512 [0.480, 0.544]', the mean alone where there is no interval (too few prompts), or a dash."""
    if interval is None or math.isnan(interval.mean) or math.isnan(interval.low):
        return number(interval.mean if interval else None)
    return f"{number(interval.mean)} [{number(interval.low)}, {number(interval.high)}]"


def signed(paired: Paired) -> str:
    """'+0.051 [+0.020, +0.083]', the difference alone where there is no interval, or a dash."""
    if math.isnan(paired.difference):
        return DASH
    if math.isnan(paired.low):
        return f"{paired.difference:+.3f}"
    return f"{paired.difference:+.3f} [{paired.low:+.3f}, {paired.high:+.3f}]"


def p_value(p: float) -> str:
    """Four decimals below 0.01, else three."""
    if math.isnan(p):
        return DASH
    return f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def printed(value: float | None, decimals: int) -> str:
    """A published number with the digits that it was printed with: more would look measured."""
    if value is None:
        return DASH
    digits = len(repr(float(value)).partition(".")[2])
    return f"{value:.{max(decimals, min(digits, 3))}f}"


def ranks(span: tuple[int, int] | None) -> str:
    """'1', '1-3', or a dash."""
    if span is None:
        return DASH
    return str(span[0]) if span[0] == span[1] else f"{span[0]}-{span[1]}"


def headed(metric: str, direction: str, unit: str) -> str:
    """'pickscore ↑ (logit scale x cosine)': a metric with its direction and unit, as far as they are known."""
    arrow = ARROWS.get(direction, "")
    return f"{metric}{' ' + arrow if arrow else ''}{f' ({unit})' if unit else ''}"
