"""Evaluations of one suite side by side, each with its gain over the better of the base rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flowbench.errors import ConfigError
from flowbench.evals.compare import Paired
from flowbench.evals.results import Results, check_comparable, compare_results


@dataclass(frozen=True)
class Row:
    """One evaluation. `gain` is its headline minus the baseline's (None for base rows, or without a baseline);

    `differs` names the declared settings in which it departs from the baseline.
    """

    results: Results
    is_base: bool
    gain: Paired | None = None
    differs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Leaderboard:
    """Base rows as given, then the others, best headline first. `baseline` is the base row that gains refer to."""

    suite: str
    headline: str
    also_show: tuple[str, ...]
    tags: tuple[str, ...]
    unseen: tuple[str, ...]
    baseline: Results | None
    rows: tuple[Row, ...]


def build_leaderboard(candidates: Sequence[Results], base: Sequence[Results] = ()) -> Leaderboard:
    """Rank evaluations. Gains are measured against the base row with the best headline.

    The base usually stands here twice, without guidance and at its best guidance: settings that are declared may
    differ, are shown, and mark the gain. Raises CardMismatch when a setting that must agree differs, ConfigError
    when there is nothing to rank.
    """
    everything = [*base, *candidates]
    if not everything:
        raise ConfigError("there is no evaluation to rank. Name at least one evaluation or run folder.")
    first = everything[0]
    for other in everything[1:]:
        check_comparable(first, other, allow_mismatch=True)
    baseline = max(base, key=_headline, default=None)
    held = {result.folder.resolve() for result in base}
    others = [result for result in candidates if result.folder.resolve() not in held]
    rows = [Row(result, is_base=True) for result in base]
    rows += [_row(result, baseline) for result in sorted(others, key=_headline, reverse=True)]
    return Leaderboard(
        suite=first.summary["suite"],
        headline=first.headline,
        also_show=tuple(first.summary["also_show"]),
        tags=first.tags,
        unseen=tuple(tag for tag in first.tags if tag in first.summary["unseen"]),
        baseline=baseline,
        rows=tuple(rows),
    )


def to_json(board: Leaderboard) -> dict[str, Any]:
    """The whole table as plain data: means with their bounds, gains with their p, and what they depend on."""
    return {
        "suite": board.suite,
        "headline": board.headline,
        "baseline": board.baseline.label if board.baseline else None,
        "unseen_seeds_only": list(board.unseen),
        "must_agree": board.rows[0].results.card["must_agree"],
        "rows": [_row_json(row) for row in board.rows],
    }


def _row(results: Results, baseline: Results | None) -> Row:
    if baseline is None:
        return Row(results, is_base=False)
    return Row(
        results,
        is_base=False,
        gain=compare_results(results, baseline, allow_mismatch=True),
        differs=tuple(check_comparable(results, baseline, allow_mismatch=True)),
    )


def _row_json(row: Row) -> dict[str, Any]:
    results = row.results
    return {
        "label": results.label,
        "is_base": row.is_base,
        "folder": str(results.folder),
        **results.card["subject"],
        **results.card["declared"],
        "unscored": results.summary["unscored"],
        "metrics": results.summary["metrics"],
        "gain": asdict(row.gain) if row.gain else None,
        "differs_from_baseline": list(row.differs),
    }


def _headline(results: Results) -> float:
    """For sorting: an evaluation in which nothing was scored comes last."""
    value = results.mean(results.headline)
    return -math.inf if math.isnan(value) else value
