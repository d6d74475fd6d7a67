"""Evaluations of one suite side by side, each with its gain over the better of the base rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flowbench import store
from flowbench.errors import ConfigError
from flowbench.evals.compare import Paired
from flowbench.evals.results import Results, check_comparable, compare_results, find_results


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


def find_leaderboards(
    folders: Sequence[str | Path], bases: Sequence[str | Path] = (), *, suite: str | None = None
) -> list[Leaderboard]:
    """The evaluations in these run or evaluation folders, one leaderboard for all that may be compared.

    That is one per suite and settings that must agree (an evaluation with `limit` stands apart from a whole one), in
    the order in which they are met. Those in `bases` are the base rows; when none are named, those of models without an
    adapter. `suite` keeps those of one suite. Raises MissingFile for a folder without evaluations, ConfigError when
    `suite` has none, CardMismatch when there are base rows and no other row may be compared with one.
    """
    named, others = _found(bases), _found(folders)
    base = named or {place: each for place, each in others.items() if each.card["subject"]["adapter"] == "none"}
    everything = {**base, **others}
    suites = dict.fromkeys(each.summary["suite"] for each in everything.values())
    if suite is not None and suite not in suites:
        raise ConfigError(f"no evaluation of suite '{suite}' is in these folders, only of {', '.join(suites)}.")
    groups: dict[str, list[Path]] = {}
    for place, each in everything.items():
        if suite in (None, each.summary["suite"]):
            groups.setdefault(store.digest(each.card["must_agree"]), []).append(place)
    boards = [
        build_leaderboard(
            [everything[place] for place in group if place not in base],
            [everything[place] for place in group if place in base],
        )
        for group in groups.values()
    ]
    for name in suites:
        _refuse_strangers([board for board in boards if board.suite == name])
    return boards


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


def _found(folders: Iterable[str | Path]) -> dict[Path, Results]:
    """All evaluations in the folders, each once."""
    return {results.folder.resolve(): results for folder in folders for results in find_results(folder)}


def _refuse_strangers(boards: Sequence[Leaderboard]) -> None:
    """Raises CardMismatch when one suite has base rows and others, and no two of them stand on one board."""
    bases = [row.results for board in boards for row in board.rows if row.is_base]
    others = [row.results for board in boards for row in board.rows if not row.is_base]
    together = any(board.baseline and any(not row.is_base for row in board.rows) for board in boards)
    if bases and others and not together:
        check_comparable(others[0], bases[0], allow_mismatch=True)


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
