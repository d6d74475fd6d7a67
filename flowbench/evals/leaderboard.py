"""Evaluations of one suite side by side: ranks that chance leaves open, gains over the better of the base rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from flowbench.errors import CardMismatch, ConfigError
from flowbench.evals.facts import Facts, aligned, facts_of, other_scorer
from flowbench.evals.provenance import origin_of, printed_training, trained_on
from flowbench.evals.published import PublishedTable
from flowbench.evals.results import Results, check_comparable, find_results, unlike_settings
from flowbench.evals.versus import paired
from flowbench.stats.paired import Paired, draws_for, holm
from flowbench.stats.ranks import rank_ranges

OWN_CHOICE = ("guidance", "guidance_kind")
"""Declared settings that a model may choose for itself: each is ranked at its best, and the table shows which."""
Span = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """One evaluation."""

    results: Results
    """Its numbers."""
    is_base: bool
    """Whether gains may be measured against it."""
    gain: Paired | None = None
    """Its headline minus the baseline's; None for base rows, or without a baseline."""
    differs: tuple[str, ...] = ()
    """Declared settings in which it departs from the baseline (without one, from the first row)."""
    p_holm: float = math.nan
    """The gain's p, adjusted over all gains of the board."""
    ranks: Mapping[str, Span] = field(default_factory=dict)
    """By metric, the best and the worst rank that it can have."""
    trained_on: tuple[str, ...] = ()
    """The rewards that it was trained on, as far as its run says."""
    unlike: Mapping[str, str] = field(default_factory=dict)
    """Metrics that another scorer scored than in the board's other rows, with the difference; they are not shown."""
    origin: str = "measured"
    """"measured", or "re-measured" when others have published its number."""


@dataclass(frozen=True)
class Leaderboard:
    """Base rows as given, then the others, best headline first. A board may hold nothing but published rows."""

    suite: str
    """That all of them measure."""
    headline: str
    """The metric by which they are ordered."""
    also_show: tuple[str, ...]
    """The metrics beside it."""
    tags: tuple[str, ...]
    """Of the prompts, in the suite's order."""
    unseen: tuple[str, ...]
    """Tags whose prompts stand in the training split too."""
    baseline: Results | None
    """The base row that gains refer to."""
    rows: tuple[Row, ...]
    """The measured ones."""
    columns: tuple[Facts, ...] = ()
    """The headline, then the metrics beside it."""
    published: PublishedTable | None = None
    """Rows that others printed, best first; they stand apart and take no part in ranks and gains."""
    apart: tuple[str, ...] = ()
    """Why the suite's other evaluations stand on boards of their own, a sentence each."""


def find_leaderboards(
    folders: Sequence[str | Path],
    bases: Sequence[str | Path] = (),
    *,
    suite: str | None = None,
    published: Sequence[PublishedTable] = (),
    allow_mismatch: bool = True,
) -> list[Leaderboard]:
    """The evaluations in these run or evaluation folders, one leaderboard for all that may be compared.

    That is one per suite and settings that must agree (an evaluation with `limit` stands apart from a whole one), in
    the order in which they are met. Those in `bases` are the base rows; when none are named, those of models without an
    adapter (given pictures are of no known model, and no base rows then). `suite` keeps those of one suite. `published`
    tables join the boards of their suite, or make one of their own. Without `allow_mismatch`, declared settings other
    than guidance must agree too. Raises MissingFile for a folder without evaluations, ConfigError when `suite` has
    none, CardMismatch when there are base rows and no other row may be compared with one, or when settings differ.
    """
    named, others = _found(bases), _found(folders)
    base = named or {
        place: each
        for place, each in others.items()
        if each.card.subject["adapter"] == "none" and not each.card.is_of_existing
    }
    everything = {**base, **others}
    suites = dict.fromkeys(each.summary.suite for each in everything.values())
    printed = dict.fromkeys(table.suite for table in published)
    if suite is not None and suite not in printed:
        if printed:
            raise ConfigError(f"--published is of {', '.join(printed)}, --suite {suite} keeps none of it. Drop one.")
        if suite not in suites:
            raise ConfigError(f"no evaluation of suite '{suite}' is in these folders, only of {', '.join(suites)}.")
    boards = [
        build_leaderboard(
            [group[place] for place in group if place not in base],
            [group[place] for place in group if place in base],
            allow_mismatch=allow_mismatch,
        )
        for group in _groups({at: each for at, each in everything.items() if suite in (None, each.summary.suite)})
    ]
    for name in suites:
        of_suite = [board for board in boards if board.suite == name]
        if not any(board.baseline and any(not row.is_base for row in board.rows) for board in of_suite):
            rows = [row for board in of_suite for row in board.rows]
            first = {row.is_base: row.results for row in reversed(rows)}
            if len(first) == 2:  # base rows and others, and no two of them stand on one board
                _check(first[True], first[False], first[True].headline, True)
    boards = [replace(board, apart=tuple(_apart(board, boards))) for board in boards]
    return _with_published(boards, [table for table in published if suite in (None, table.suite)])


def build_leaderboard(
    candidates: Sequence[Results], base: Sequence[Results] = (), *, allow_mismatch: bool = True
) -> Leaderboard:
    """Rank evaluations. Gains are measured against the base row with the best headline.

    The base usually stands here twice, without guidance and at its best guidance: settings that are declared may
    differ, are shown, and mark the gain (`allow_mismatch` False: no other than guidance). Raises CardMismatch when a
    setting that must agree differs, ConfigError when there is nothing to rank.
    """
    everything = [*base, *candidates]
    if not everything:
        raise ConfigError("there is no evaluation to rank. Name at least one evaluation or run folder.")
    first = everything[0]
    columns = _columns(everything)
    for other in everything[1:]:
        _check(first, other, columns[0].metric, allow_mismatch)
    baseline = max(base, key=lambda each: _goodness(each, columns[0]), default=None)
    held = {result.folder.resolve() for result in base}
    others = [result for result in candidates if result.folder.resolve() not in held]
    others.sort(key=lambda each: _goodness(each, columns[0]), reverse=True)
    rows = [Row(result, is_base=True) for result in base] + [Row(result, is_base=False) for result in others]
    rows = [_with_settings(row, baseline, rows[0].results, columns) for row in rows]
    rows = _with_ranks(_with_gains(rows, baseline, columns[0]), columns)
    return Leaderboard(
        suite=first.summary.suite,
        headline=columns[0].metric,
        also_show=tuple(column.metric for column in columns[1:]),
        tags=first.tags,
        unseen=tuple(tag for tag in first.tags if tag in first.summary.unseen),
        baseline=baseline,
        rows=tuple(rows),
        columns=columns,
    )


def to_json(board: Leaderboard) -> dict[str, Any]:
    """The whole table as plain data: means with their bounds, gains with their p, and what they depend on."""
    return {
        "suite": board.suite,
        "headline": board.headline,
        "columns": [asdict(column) for column in board.columns],
        "baseline": board.baseline.label if board.baseline else None,
        "unseen_seeds_only": list(board.unseen),
        "must_agree": board.rows[0].results.card.must_agree if board.rows else None,
        "apart": list(board.apart),
        "rows": [
            {
                "label": row.results.label,
                "origin": row.origin,
                "is_base": row.is_base,
                "folder": str(row.results.folder),
                **row.results.card.subject,
                **row.results.card.declared,
                "model_calls_per_picture": row.results.card.noted.get("model_calls_per_picture"),
                "trained_on": list(row.trained_on),
                "unscored": row.results.summary.unscored,
                "metrics": row.results.summary.as_json()["metrics"],
                "ranks": {metric: list(span) for metric, span in row.ranks.items()},
                "gain": asdict(row.gain) | {"p_holm": row.p_holm} if row.gain else None,
                "differs_from_baseline": list(row.differs),
                "scored_by_others": dict(row.unlike),
            }
            for row in board.rows
        ],
        "published": [
            asdict(row) | {"origin": row.origin} for row in (board.published.rows if board.published else ())
        ],
    }


def shown_metrics(results: Results) -> list[str]:
    """Of what was measured: the headline, what the suite shows beside it, the value of every other scorer."""
    summary = results.summary
    values = [each.name for each in summary.scorers] if len(summary.scorers) > 1 else []
    return [name for name in dict.fromkeys([summary.headline, *summary.also_show, *values]) if name in summary.metrics]


def _columns(evaluations: Sequence[Results]) -> tuple[Facts, ...]:
    """One for each metric that any of them shows, described by the first that has it."""
    found: dict[str, Facts] = {}
    for each in evaluations:
        for metric in shown_metrics(each):
            found.setdefault(metric, facts_of(each, metric))
    if not found:
        name = evaluations[0].summary.suite
        raise ConfigError(f"suite '{name}' has no number to rank by: nothing scored its pictures. Score them first.")
    return tuple(found.values())


def _found(folders: Iterable[str | Path]) -> dict[Path, Results]:
    """All evaluations in the folders, each once."""
    return {results.folder.resolve(): results for folder in folders for results in find_results(folder)}


def _groups(everything: Mapping[Path, Results]) -> list[dict[Path, Results]]:
    """What may stand on one board: evaluations of the same settings whose headline the same scorer gave."""
    groups: list[dict[Path, Results]] = []
    for place, each in everything.items():
        for group in groups:
            first = next(iter(group.values()))
            if not unlike_settings(first, each) and not _other_scorer(each, first, first.headline):
                group[place] = each
                break
        else:
            groups.append({place: each})
    return groups


def _check(first: Results, other: Results, headline: str, allow_mismatch: bool) -> None:
    where = f"'{other.label}' and '{first.label}' cannot be ranked together"
    differs = check_comparable(other, first, allow_mismatch=True)
    forbidden = [each for each in differs if each.partition(":")[0] not in OWN_CHOICE]
    if forbidden and not allow_mismatch:
        raise CardMismatch(
            f"{where}: they differ in {'; '.join(forbidden)}. "
            "Evaluate both alike, or pass --allow-mismatch to rank them all the same."
        )
    if why := _other_scorer(other, first, headline):
        raise CardMismatch(f"{where}: '{headline}' was scored by others in each ({why}). Score both alike.")


def _other_scorer(a: Results, b: Results, metric: str) -> str:
    """In what the scorers differ; "" also when one of the two has no such metric: then it has nothing to compare."""
    return other_scorer(a, b, metric) if metric in a.summary.metrics.keys() & b.summary.metrics.keys() else ""


def _apart(board: Leaderboard, boards: Sequence[Leaderboard]) -> Iterator[str]:
    """Why each other board of the suite is another one; tables that look alike would be read as one."""
    others = [other for other in boards if other is not board and other.suite == board.suite]
    for other in others:
        first, second = board.rows[0].results, other.rows[0].results
        which = f"the table of '{second.label}'" if len(others) > 1 else f"the other table of {board.suite}"
        unlike = unlike_settings(first, second)
        if not unlike:
            pairs = itertools.product(board.rows, other.rows)
            why = (_other_scorer(one.results, two.results, board.headline) for one, two in pairs)
            unlike = [f"who scored {board.headline} ({next(filter(None, why), '')})"]
        yield f"Not comparable with {which}: {'; '.join(unlike)}."


def _with_published(boards: Sequence[Leaderboard], tables: Sequence[PublishedTable]) -> list[Leaderboard]:
    """Each table on the boards of its suite; one that has none there makes a board of its own."""
    joined = list(boards)
    for table in tables:
        if not any(board.suite == table.suite for board in joined):
            order = dict.fromkeys([table.headline, *table.metrics])
            facts = [(name, table.metrics[name]) for name in order]
            columns = tuple(Facts(name, each.scorer, each.unit, each.direction) for name, each in facts)
            joined.append(Leaderboard(table.suite, table.headline, tuple(order)[1:], table.tags, (), None, (), columns))
        joined = [_joined(board, table) if board.suite == table.suite else board for board in joined]
    return joined


def _joined(board: Leaderboard, table: PublishedTable) -> Leaderboard:
    if board.published is not None:
        metrics = {**table.metrics, **board.published.metrics}
        table = replace(board.published, metrics=metrics, rows=(*board.published.rows, *table.rows))
    sign = -1 if table.metrics[table.headline].direction == "lower" else 1
    ordered = sorted(table.rows, key=lambda row: -sign * row.values.get(table.headline, -sign * math.inf))
    rows = tuple(
        replace(
            row,
            origin=origin_of(row.results, table),
            trained_on=row.trained_on or printed_training(row.results, table),
        )
        for row in board.rows
    )
    return replace(board, rows=rows, published=replace(table, rows=tuple(ordered)))


def _with_settings(row: Row, baseline: Results | None, first: Results, columns: Sequence[Facts]) -> Row:
    reference = baseline or first
    unlike = {column.metric: _other_scorer(row.results, reference, column.metric) for column in columns}
    return replace(
        row,
        # between base rows nothing is measured: the table's columns show in what they differ
        differs=()
        if row.is_base and baseline
        else tuple(check_comparable(row.results, reference, allow_mismatch=True)),
        trained_on=trained_on(row.results),
        unlike={metric: why for metric, why in unlike.items() if why},
    )


def _with_gains(rows: Sequence[Row], baseline: Results | None, headline: Facts) -> list[Row]:
    if baseline is None or headline.level == "set":
        return list(rows)
    tested = [row for row in rows if not row.is_base]
    draws = draws_for(len(tested))
    gains = [paired(aligned([row.results, baseline], headline.metric), draws) for row in tested]
    adjusted = holm([gain.p if headline.is_ranked else math.nan for gain in gains])
    found = {id(row): (gain, p) for row, gain, p in zip(tested, gains, adjusted, strict=True)}
    return [replace(row, gain=found[id(row)][0], p_holm=found[id(row)][1]) if id(row) in found else row for row in rows]


def _with_ranks(rows: Sequence[Row], columns: Sequence[Facts]) -> list[Row]:
    """Rank ranges by metric, among the rows that have it from the same scorer."""
    spans: list[dict[str, Span]] = [{} for _ in rows]
    for column in columns:
        name = column.metric
        places = [
            place
            for place, row in enumerate(rows)
            if column.is_ranked and name not in row.unlike and not math.isnan(row.results.mean(name))
        ]
        if len(places) < 2:
            continue
        held = aligned([rows[place].results for place in places], name)
        named = {str(place): values for place, values in zip(places, held.values, strict=True)}
        found = rank_ranges(named, held.prompt_ids, held.tags, direction=column.better)
        for place in places:
            spans[place][name] = found[str(place)]
    return [replace(row, ranks=each) for row, each in zip(rows, spans, strict=True)]


def _goodness(results: Results, headline: Facts) -> float:
    """For sorting: one in which nothing was scored comes last, and where neither end is better, none moves."""
    value = results.mean(headline.metric)
    if math.isnan(value):
        return -math.inf
    return {"higher": value, "lower": -value}.get(headline.direction, 0.0)
