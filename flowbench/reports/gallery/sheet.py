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
        return tuple(facts_of(self.last, name) for name in self.last.metrics)

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """Those with a value for each picture or prompt."""
        return tuple(self._metric(facts) for facts in self.facts if facts.level != "set")

    def _metric(self, facts: Facts) -> Metric:
        values = tuple(tuple(_value(row[side], facts.metric) for row in self.rows) for side in range(len(self.sides)))
        return Metric(facts, tuple(self._spread(side) for side in values) if facts.level == "prompt" else values)

    def _spread(self, values: Values) -> Values:
        """A prompt's one value, which stands in its first record, for all of its pictures."""
        first = {row[0].prompt_id: value for row, value in zip(self.rows, values, strict=True) if value is not None}
        return tuple(first.get(row[0].prompt_id) for row in self.rows)


@dataclass(frozen=True)
class Moves:
    """How many pictures of a tag (None: of all) went which way between two sides; verdicts of one metric."""

    tag: str | None
    mended: int
    broken: int
    stayed_right: int
    stayed_wrong: int
    unscored: int


def sheet_of(results: Results) -> Sheet:
    """One evaluation."""
    return Sheet((results,), tuple((record,) for record in results.records))


def paired_sheet(versus: Versus) -> Sheet:
    """Two evaluations, in the candidate's order; they hold the same pictures, or there would be no comparison."""
    before = {record.key: record for record in versus.baseline.records}
    rows = tuple((before[record.key], record) for record in versus.candidate.records)
    return Sheet((versus.baseline, versus.candidate), rows, versus)


def moves(sheet: Sheet, metric: Metric) -> list[Moves]:
    """Per tag and, if there are several, for all at the end; of a pair's verdicts."""
    before, after = metric.values
    ways: Counter[tuple[str | None, str]] = Counter()
    for row, was, now in zip(sheet.rows, before, after, strict=True):
        way = "unscored" if was is None or now is None else f"{was == metric.right:d}{now == metric.right:d}"
        for tag in {row[-1].tag if sheet.tags else None, None}:
            ways[tag, way] += 1
    order = ("01", "10", "11", "00", "unscored")
    return [Moves(tag, *(ways[tag, way] for way in order)) for tag in (*sheet.tags, None)]


def reasons(sheet: Sheet) -> list[tuple[str, list[int]]]:
    """(reason, on how many pictures of each side), of the first scorer's notes on pictures that are not right.

    A note of several reasons ("a; b") counts for each. Those that the last side has more of than the first come
    first; of one side, the most frequent. The words stand in the records; nothing is read into them.
    """
    metric = sheet.metrics[0] if sheet.metrics else None
    counts: list[Counter[str]] = []
    for side in range(len(sheet.sides)):
        values = metric.values[side] if metric else (None,) * len(sheet.rows)
        noted = [row[side].note for row, value in zip(sheet.rows, values, strict=True) if not _is_right(metric, value)]
        counts.append(Counter(part for note in noted for part in dict.fromkeys(_parts(note))))
    found = dict.fromkeys(part for count in reversed(counts) for part in count)
    several = [(part, [count[part] for count in counts]) for part in found]
    rise = len(counts) > 1
    return sorted(several, key=lambda each: (-(each[1][-1] - each[1][0] * rise), -sum(each[1]), each[0]))


def _is_right(metric: Metric | None, value: float | None) -> bool:
    return metric is not None and metric.is_verdict and value == metric.right


def _parts(note: str) -> list[str]:
    return [part.strip() for part in (note or "").split("; ") if part.strip()]


def _value(record: Record, metric: str) -> float | None:
    value = record.measured(metric)
    return value if math.isfinite(value) else None


def in_order(values: Sequence[float | None]) -> list[float]:
    """The scored ones, sorted."""
    return sorted(value for value in values if value is not None)
