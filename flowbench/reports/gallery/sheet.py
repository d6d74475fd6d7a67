"""The pictures of one evaluation, or of two paired by prompt and seed, with the values of each metric on them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from flowbench.evals.evaluation import Record
from flowbench.evals.facts import Facts, facts_of
from flowbench.evals.results import Results
from flowbench.evals.versus import Versus

Values = tuple[float | None, ...]


@dataclass(frozen=True)
class Metric:
    """One metric on every picture: `values` holds a tuple per side, None where it is unscored."""

    facts: Facts
    values: tuple[Values, ...]

    @property
    def name(self) -> str:
        return self.facts.metric

    @property
    def is_verdict(self) -> bool:
        """Whether it only ever says yes (1) or no (0), and one of them is the better."""
        scored = {value for side in self.values for value in side if value is not None}
        return bool(scored) and scored <= {0.0, 1.0} and self.facts.direction != "none"

    @property
    def right(self) -> float:
        """The verdict that one hopes for."""
        return 0.0 if self.facts.direction == "lower" else 1.0

    @property
    def is_share(self) -> bool:
        """Whether all its values lie in [0, 1], so that a bar from 0 to 1 shows it."""
        return all(0 <= value <= 1 for side in self.values for value in side if value is not None)

    def gain(self, place: int) -> float | None:
        """By how much a picture (by its row's place) is better on the last side than on the first: below 0 it is worse,
        whichever end of the metric is the better one. None where a side is unscored, or where neither end is better."""
        was, now = self.values[0][place], self.values[-1][place]
        if was is None or now is None or self.facts.direction == "none":
            return None
        return was - now if self.facts.direction == "lower" else now - was


@dataclass(frozen=True)
class Sheet:
    """`rows`: one per picture, in the order of the suite; a record per side (the baseline first, if there are two)."""

    sides: tuple[Results, ...]
    rows: tuple[tuple[Record, ...], ...]
    versus: Versus | None = None

    @property
    def last(self) -> Results:
        """The evaluation that the page is about: the candidate, or the only one."""
        return self.sides[-1]

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the sides; two of one label are told apart by their folders."""
        alike = len({side.label for side in self.sides}) < len(self.sides)
        return tuple(f"{side.label} ({side.folder.name})" if alike else side.label for side in self.sides)

    @property
    def tags(self) -> tuple[str, ...]:
        return self.last.tags

    @cached_property
    def facts(self) -> tuple[Facts, ...]:
        """Of all metrics, the headline first: of two sides, those that were compared."""
        if self.versus is not None:
            return tuple(dict.fromkeys(line.facts for line in self.versus.lines))
        held = [name for name in self.last.metrics if all(name in side.summary.metrics for side in self.sides)]
        return tuple(facts_of(self.last, name) for name in held)

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """Those with a value for each picture or prompt."""
        found = []
        for facts in self.facts:
            if facts.level != "set":
                sides = tuple(_values([row[side] for row in self.rows], facts) for side in range(len(self.sides)))
                found.append(Metric(facts, sides))
        return tuple(found)

    @property
    def headline(self) -> Metric | None:
        """The metric that the page is about; None when no metric has values of single pictures."""
        return self.metrics[0] if self.metrics else None


@dataclass(frozen=True)
class Moves:
    """How many pictures went which way between two sides, by the verdicts of one metric."""

    tag: str | None
    """Whose pictures are counted; None: all."""
    mended: int
    """Wrong on the first side, right on the last."""
    broken: int
    """Right on the first side, wrong on the last."""
    stayed_right: int
    """Right on both."""
    stayed_wrong: int
    """Wrong on both."""
    unscored: int
    """Without a verdict on one of the sides, or on both."""


def sheet_of(results: Results) -> Sheet:
    """One evaluation."""
    return Sheet((results,), tuple((record,) for record in results.records))


def paired_sheet(versus: Versus) -> Sheet:
    """Two evaluations and their comparison, in the candidate's order."""
    return side_by_side(versus.baseline, versus.candidate, versus)


def side_by_side(before: Results, after: Results, versus: Versus | None = None) -> Sheet:
    """Two evaluations in the order of the second: the pictures (prompt and index) that both hold."""
    held = {record.key: record for record in before.records}
    rows = ((held[record.key], record) for record in after.records if record.key in held)
    return Sheet((before, after), tuple(rows), versus)


def moves(sheet: Sheet, metric: Metric | None) -> list[Moves]:
    """Per tag and, at the end, of all; [] where there is one side only, or a metric that gives no verdicts."""
    if metric is None or not metric.is_verdict or len(sheet.sides) < 2:
        return []
    counts: Counter[tuple[str | None, str]] = Counter()
    for place, row in enumerate(sheet.rows):
        gain, now = metric.gain(place), metric.values[-1][place]
        if gain is None:
            way = "unscored"
        elif gain != 0:
            way = "mended" if gain > 0 else "broken"
        else:
            way = "stayed_right" if now == metric.right else "stayed_wrong"
        for tag in {row[-1].tag if sheet.tags else None, None}:
            counts[tag, way] += 1
    ways = ("mended", "broken", "stayed_right", "stayed_wrong", "unscored")
    return [Moves(tag, **{way: counts[tag, way] for way in ways}) for tag in (*sheet.tags, None)]


def reasons(sheet: Sheet) -> list[tuple[str, list[int]]]:
    """(reason, on how many pictures of each side), of the first scorer's notes on pictures that are not right.

    A note of several reasons ("a; b") counts for each. Those that the last side has more of than the first come
    first; of one side, the most frequent. The words stand in the records; nothing is read into them.
    """
    metric = sheet.headline
    counts: list[Counter[str]] = []
    for side in range(len(sheet.sides)):
        counts.append(Counter())
        for place, row in enumerate(sheet.rows):
            if not (metric and metric.is_verdict and metric.values[side][place] == metric.right):
                parts = [part.strip() for part in row[side].note.split("; ")]
                counts[side].update(part for part in dict.fromkeys(parts) if part)
    found = dict.fromkeys(part for count in reversed(counts) for part in count)
    several = [(part, [count[part] for count in counts]) for part in found]
    rise = len(counts) > 1
    return sorted(several, key=lambda each: (-(each[1][-1] - each[1][0] * rise), -sum(each[1]), each[0]))


def in_order(values: Sequence[float | None]) -> list[float]:
    """The scored ones, sorted."""
    return sorted(value for value in values if value is not None)


def _values(records: Sequence[Record], facts: Facts) -> Values:
    """The metric on each record. A prompt's one value, which stands in its first record, is each of its pictures'."""
    values: list[float | None] = []
    of_prompts: dict[str, float] = {}
    for record in records:
        value = record.measured(facts.metric)
        values.append(value if math.isfinite(value) else None)
        if values[-1] is not None:
            of_prompts.setdefault(record.prompt_id, values[-1])
    if facts.level == "prompt":
        return tuple(of_prompts.get(record.prompt_id) for record in records)
    return tuple(values)
