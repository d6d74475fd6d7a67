"""The numbers at the head of a gallery: a row per metric, a block of bars per metric with a row per tag."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from flowbench.reports.gallery import charts
from flowbench.reports.gallery.sheet import Sheet, in_order
from flowbench.reports.tables.cells import ARROWS, bounded, number, p_value, signed
from flowbench.reports.tables.footnotes import UNSEEN_MARK

if TYPE_CHECKING:
    from flowbench.evals.versus import Line
    from flowbench.stats.intervals import Interval


@dataclass(frozen=True)
class Change:
    """A paired difference in words and as a chart; `verdict` is that of the comparison's line ("better", "worse")."""

    text: str
    p: str
    chart: Markup
    verdict: str


@dataclass(frozen=True)
class Row:
    """One line: a metric, or a tag of one."""

    name: str
    """Of the metric, or of the tag."""
    arrow: str
    """Which way is better; "" for a tag, and where neither is."""
    unit: str
    """"" for a tag, and for a metric without one."""
    texts: list[str]
    """Mean and interval, one per side."""
    chart: Markup
    """The same drawn; empty where there is nothing to draw."""
    change: Change | None = None
    """Of two sides: what a test says of their difference."""
    scored: str = ""
    """How many pictures were scored on the last side, in words."""


@dataclass(frozen=True)
class Block:
    """One metric by tag; `ticks` stand below, at even distances."""

    metric: str
    unit: str
    ticks: list[str]
    rows: list[Row]


def metric_rows(sheet: Sheet) -> list[Row]:
    """Every metric overall, in the order of the sheet, those that have one number for all pictures included.

    A share is a bar from 0 to 1; what has another scale shows how its values are spread; of a set nothing is drawn.
    """
    pictured = {metric.name: metric for metric in sheet.metrics}
    compared = {line.facts.metric: line for line in _lines(sheet) if line.tag is None}
    rows = []
    for facts in sheet.facts:
        entries = [side.interval(facts.metric) for side in sheet.sides]
        metric, chart = pictured.get(facts.metric), Markup("")
        if metric is not None and metric.is_share:
            chart = charts.lines(entries, charts.SHARES)
        elif metric is not None:
            chart = charts.histogram([in_order(side) for side in metric.values], entries)
        rows.append(
            Row(
                name=facts.metric,
                arrow=ARROWS.get(facts.direction, ""),
                unit=facts.unit,
                texts=[bounded(each) for each in entries],
                chart=chart,
                change=_change(compared.get(facts.metric)),
                scored=_scored(entries[-1]) if facts.level != "set" else "one number of all pictures",
            )
        )
    return rows


def tag_blocks(sheet: Sheet) -> list[Block]:
    """For each metric a row per tag; [] when the prompts have no tags."""
    blocks = []
    for metric in sheet.metrics if sheet.tags else ():
        entries = {tag: [side.interval(metric.name, tag) for side in sheet.sides] for tag in sheet.tags}
        axis = charts.axis_for([each for sides in entries.values() for each in sides], share=metric.is_share)
        compared = {
            line.tag: line for line in _lines(sheet) if line.facts.metric == metric.name and line.tag is not None
        }
        reach = _reach(list(compared.values()))
        rows = [
            Row(
                name=f"{tag}{UNSEEN_MARK if tag in sheet.last.summary.unseen else ''}",
                arrow="",
                unit="",
                texts=[bounded(each) for each in sides],
                chart=charts.lines(sides, axis),
                change=_change(compared.get(tag), reach),
                scored=_scored(sides[-1]),
            )
            for tag, sides in entries.items()
        ]
        ticks = ["0", ".25", ".5", ".75", "1"]
        if not axis.bars:
            ticks = [number(axis.low), number((axis.low + axis.high) / 2), number(axis.high)]
        blocks.append(Block(metric.name, metric.facts.unit, ticks, rows))
    return blocks


def _lines(sheet: Sheet) -> tuple[Line, ...]:
    return sheet.versus.lines if sheet.versus is not None else ()


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


def _scored(found: Interval | None) -> str:
    """'1,988 scored, 12 unscored'."""
    if found is None:
        return ""
    return f"{found.count:,} scored" + (f", {found.unscored:,} unscored" if found.unscored else "")
