"""The numbers at the head of a gallery: a row per metric, a block of bars per metric with a row per tag."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowbench.reports.gallery import charts
from flowbench.reports.gallery.sheet import Metric, Sheet, in_order
from flowbench.reports.tables.cells import ARROWS, bounded, number, p_value, signed

if TYPE_CHECKING:
    from markupsafe import Markup

    from flowbench.evals.versus import Line
    from flowbench.stats.intervals import Interval


@dataclass(frozen=True)
class Change:
    """A paired difference in words and as a chart; `verdict` is that of the comparison's line."""

    text: str
    p: str
    chart: Markup
    verdict: str


@dataclass(frozen=True)
class Row:
    """One line: a metric, or a tag of one. `texts` and `counts` hold one entry per side."""

    name: str
    arrow: str
    unit: str
    texts: list[str]
    chart: Markup | str
    change: Change | None = None
    scored: str = ""


@dataclass(frozen=True)
class Block:
    """One metric by tag; `ticks` stand below, at even distances."""

    metric: str
    unit: str
    ticks: list[str]
    rows: list[Row]


def metric_rows(sheet: Sheet) -> list[Row]:
    """Every metric overall, in the order of the sheet, those that have one number for all pictures included."""
    pictured = {metric.name: metric for metric in sheet.metrics}
    compared = {line.facts.metric: line for line in _lines(sheet) if line.tag is None}
    rows = []
    for facts in sheet.facts:
        entries = [side.interval(facts.metric) for side in sheet.sides]
        rows.append(
            Row(
                name=facts.metric,
                arrow=ARROWS.get(facts.direction, ""),
                unit=facts.unit,
                texts=[bounded(each) for each in entries],
                chart=_chart(pictured.get(facts.metric), entries),
                change=_change(compared.get(facts.metric)),
                scored=_scored(entries[-1]) if facts.level != "set" else "one number of all pictures",
            )
        )
    return rows


def tag_blocks(sheet: Sheet) -> list[Block]:
    """For each metric a row per tag; [] when the prompts have no tags."""
    return [_block(sheet, metric) for metric in sheet.metrics] if sheet.tags else []


def _block(sheet: Sheet, metric: Metric) -> Block:
    entries = {tag: [side.interval(metric.name, tag) for side in sheet.sides] for tag in sheet.tags}
    axis = charts.axis_for([each for sides in entries.values() for each in sides], share=metric.is_share)
    compared = {line.tag: line for line in _lines(sheet) if line.facts.metric == metric.name and line.tag is not None}
    reach = _reach(list(compared.values()))
    rows = [
        Row(
            name=f"{tag}{'*' if tag in sheet.last.summary.unseen else ''}",
            arrow="",
            unit="",
            texts=[bounded(each) for each in sides],
            chart=charts.lines(sides, axis),
            change=_change(compared.get(tag), reach),
            scored=_scored(sides[-1]),
        )
        for tag, sides in entries.items()
    ]
    return Block(metric.name, metric.facts.unit, _ticks(axis), rows)


def _lines(sheet: Sheet) -> tuple[Line, ...]:
    return sheet.versus.lines if sheet.versus is not None else ()


def _chart(metric: Metric | None, entries: Sequence[Interval | None]) -> Markup | str:
    """A share is a bar from 0 to 1; what has another scale shows how its values are spread; of a set, nothing."""
    if metric is None:
        return ""
    if metric.is_share:
        return charts.lines(entries, charts.SHARES)
    return charts.histogram([in_order(side) for side in metric.values], entries)


def _change(line: Line | None, reach: float | None = None) -> Change | None:
    if line is None or line.paired is None:
        return None
    paired = line.paired
    chart = charts.difference(paired.difference, paired.low, paired.high, reach or _reach([line]))
    return Change(signed(paired), p_value(line.p_holm), chart, line.verdict)


def _reach(lines: Sequence[Line]) -> float:
    """What the edges of a difference chart stand for: a little beyond the widest bound."""
    found = [line.paired for line in lines if line.paired is not None]
    ends = [abs(end) for each in found for end in (each.difference, each.low, each.high) if not math.isnan(end)]
    return (max(ends, default=0.0) or 1.0) * 1.05


def _ticks(axis: charts.Axis) -> list[str]:
    if axis.bars:
        return ["0", ".25", ".5", ".75", "1"]
    return [number(axis.low), number((axis.low + axis.high) / 2), number(axis.high)]


def _scored(found: Interval | None) -> str:
    """'1,988 scored, 12 unscored'."""
    if found is None:
        return ""
    return f"{found.count:,} scored" + (f", {found.unscored:,} unscored" if found.unscored else "")
