"""The table of a run's course: a line for each evaluated checkpoint, then what is amiss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flowbench.metrics.signals import SIGNALS
from flowbench.reports.diagnosis import Course, Sign
from flowbench.reports.tables.cells import DASH, bounded, headed
from flowbench.reports.tables.table import Table

_NONE: Mapping[str, int] = {}


def course_table(course: Course, signs: Sequence[Sign], run: str, left_out: Mapping[str, int] = _NONE) -> Table:
    """Metrics with their intervals, then each signal's distance from the beginning; values beyond a line in bold.
    left_out: why evaluations of the run are in no table, and how many."""
    names = [signal.name for signal in SIGNALS]
    rows, bold = [], set()
    for row, (point, moved) in enumerate(zip(course.points, course.moved, strict=True)):
        metrics = [bounded(point.results.interval(facts.metric)) for facts in course.metrics]
        signals = [DASH if moved[name] != moved[name] else f"{moved[name]:+.1f}" for name in names]
        rows.append((str(point.step), *metrics, *signals))
        first = 1 + len(metrics)
        bold |= {(row, first + place) for place, signal in enumerate(SIGNALS) if signal.is_beyond(moved[signal.name])}
    heads = [headed(facts.metric, facts.direction, facts.unit) for facts in course.metrics]
    declared = course.first.card.declared
    how = ", ".join(f"{key} {declared[key]:g}" for key in ("steps", "guidance") if key in declared)
    title = f"{run}: {course.first.summary.suite}{how and f', {how}'}"
    return Table(
        title, ("step", *heads, *names), tuple(rows), tuple(_notes(course, signs, left_out)), bold=frozenset(bold)
    )


def course_data(course: Course, signs: Sequence[Sign]) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "suite": course.first.summary.suite,
        "declared": dict(course.first.card.declared),
        "points": [
            {
                "step": point.step,
                "folder": str(point.results.folder),
                "metrics": {
                    facts.metric: asdict(point.results.summary.metrics[facts.metric]) for facts in course.metrics
                },
                "moved": dict(moved),
            }
            for point, moved in zip(course.points, course.moved, strict=True)
        ],
        "signs": [asdict(sign) for sign in signs],
    }


def _notes(course: Course, signs: Sequence[Sign], left_out: Mapping[str, int]) -> list[str]:
    first, prompts = course.points[0].step, course.first.summary.prompts
    beginning = "step 0" if first == 0 else f"step {first}, the earliest that was evaluated"
    lines = [
        f"From {SIGNALS[0].name} on: how far pictures have moved from those of {beginning}, in its own spread between "
        "prompts; beyond a line in bold (docs/monitor.md). Brackets: 95 % interval over prompts."
    ]
    if course.compared < prompts:
        lines.append(
            f"These look at {course.compared} of {prompts} prompts: those of which every evaluation has equally many "
            "pictures."
        )
    if course.dropped:
        lines.append(f"Not measured alike in all, and left out: {', '.join(course.dropped)}.")
    if left_out:
        reasons = "; ".join(f"{count} {why}" for why, count in left_out.items())
        lines.append(f"Evaluations that are in no table: {reasons}.")
    lines += [f"step {sign.step}: {sign.sentence}." for sign in signs]
    if not signs:
        return [*lines, f"Nothing is amiss in these {len(course.points)} evaluations, as far as they can tell."]
    before = [point for point in course.points if point.step < signs[0].step and point.step > 0]
    if before:
        best = max(before, key=course.goodness)
        lines.append(
            f"Before the first sign the best {course.headline.metric} is "
            f"{best.results.mean(course.headline.metric):.3f}, at step {best.step}."
        )
    return lines
