"""A leaderboard as a table: measured rows with intervals, ranks and gains, then what others printed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flowbench.evals.evaluation import EvaluationCard
from flowbench.evals.facts import Facts
from flowbench.evals.leaderboard import Leaderboard, Row
from flowbench.evals.provenance import in_domain
from flowbench.evals.published import MEASURED_BY, PublishedRow, PublishedTable
from flowbench.reports.tables import footnotes
from flowbench.reports.tables.cells import DASH, bounded, headed, number, p_value, printed, ranks, signed
from flowbench.reports.tables.table import Place, Table
from flowbench.solver_names import solver_of
from flowbench.stats.intervals import Interval

DIFFERS_MARK = "†"
TRAINED_MARK = "‡"


@dataclass(frozen=True)
class _Head:
    """Which columns a board's table has, from left to right."""

    settings: tuple[str, ...]
    """Behind the model's name, the solver where one is not Euler's; none where nothing is measured."""
    rank: tuple[str, ...]
    """Behind the origin; none where nothing is ranked."""
    metrics: tuple[Facts, ...]
    """The headline, behind it the gains, then the others: the board's, then what only published rows have."""
    gains: tuple[str, ...]
    """Of the gain; one gain alone needs no adjustment."""
    tags: tuple[str, ...]
    """The headline by tag."""

    @classmethod
    def of(cls, board: Leaderboard) -> _Head:
        metrics = list(board.columns)
        known = {column.metric: column for column in metrics}
        for metric, facts in board.published.metrics.items() if board.published else ():
            # a published number in another unit gets a column of its own
            unlike = metric in known and facts.unit and known[metric].unit and facts.unit != known[metric].unit
            if metric not in known or unlike:
                metrics.append(Facts(metric, facts.scorer, facts.unit, facts.direction))
        published = board.published.tags if board.published and board.published.headline == board.headline else ()
        num_gains = sum(row.gain is not None for row in board.rows)
        solvers = {solver_of(row.results.card.declared.get("sampler")) for row in board.rows} - {None}
        return cls(
            settings=("guidance", "steps", *(("solver",) if solvers - {"euler"} else ())) if board.rows else (),
            rank=("rank",) if any(board.headline in row.ranks for row in board.rows) else (),
            metrics=tuple(metrics),
            gains=("gain", "p", "p Holm")[: min(num_gains, 2) + 1] if num_gains else (),
            tags=tuple(dict.fromkeys((*board.tags, *published))),
        )

    def places(self, rows: Sequence[Row | PublishedRow], chosen: Callable[[Any, Facts], bool]) -> frozenset[Place]:
        """The cells of the rows and metrics that `chosen` picks."""
        before = 2 + len(self.settings) + len(self.rank)
        at = [before, *(before + len(self.gains) + number for number in range(1, len(self.metrics)))]
        return frozenset(
            (place, at[number])
            for place, row in enumerate(rows)
            for number, column in enumerate(self.metrics)
            if chosen(row, column)
        )


def leaderboard_table(board: Leaderboard) -> Table:
    """One line per evaluation: settings, origin, rank, headline, gain, the metrics beside it, the headline of each tag.

    Published rows follow, apart, with the digits that they were printed with.
    """
    head = _Head.of(board)
    names = [headed(column.metric, column.direction, column.unit) for column in head.metrics]
    tags = [f"{tag}{footnotes.UNSEEN_MARK if tag in board.unseen else ''}" for tag in head.tags]
    copied = board.published.rows if board.published else ()
    sources = list(dict.fromkeys(row.source for row in copied))
    cells = [_cells(board, row, head) for row in board.rows]
    cells += [_published_cells(board, row, head, sources.index(row.source) + 1) for row in copied]
    data = [_data(board, row) for row in board.rows] + [_published_data(board, row) for row in copied]
    trained = head.places([*board.rows, *copied], _is_trained)
    first = len(board.rows)
    return Table(
        f"{board.suite}: {board.headline}",
        ("model", *head.settings, "origin", *head.rank, names[0], *head.gains, *names[1:], *tags),
        tuple(cells),
        tuple(_notes(board, sources, head, any_trained=bool(trained))),
        bold=head.places(board.rows, lambda row, column: row.ranks.get(column.metric, (0, 0))[0] == 1),
        shaded=trained,
        base=frozenset(place for place, row in enumerate(board.rows) if row.is_base),
        copied=frozenset(range(first, first + len(copied))),
        data=tuple(data),
    )


def _is_trained(row: Row | PublishedRow, column: Facts) -> bool:
    held = row.values if isinstance(row, PublishedRow) else row.results.summary.metrics
    return column.metric in held and in_domain(column.scorer, row.trained_on)


def _cells(board: Leaderboard, row: Row, head: _Head) -> tuple[str, ...]:
    results = row.results
    values = [
        DASH if column.metric in row.unlike or column not in board.columns else bounded(results.interval(column.metric))
        for column in head.metrics
    ]
    values = [
        text + TRAINED_MARK if text != DASH and _is_trained(row, column) else text
        for text, column in zip(values, head.metrics, strict=True)
    ]
    differs = DIFFERS_MARK if row.differs else ""
    gain = [DASH] * len(head.gains)
    if row.gain is not None:
        p = DASH if board.columns[0].direction == "none" else p_value(row.gain.p)
        gain = [signed(row.gain) + differs, p, p_value(row.p_holm)][: len(head.gains)]
    return (
        f"{results.label} (baseline)" if results is board.baseline else results.label,
        *_settings(results.card, head),
        row.origin,
        *[ranks(row.ranks.get(board.headline))] * len(head.rank),
        values[0] + (differs if row.gain is None else ""),
        *gain,
        *values[1:],
        *(number(results.mean(board.headline, tag)) for tag in head.tags),
    )


def _settings(card: EvaluationCard, head: _Head) -> tuple[str, ...]:
    """How the pictures were made; dashes for those that were made elsewhere."""
    guidance, steps = card.declared.get("guidance"), card.declared.get("steps")
    solver, calls = solver_of(card.declared.get("sampler")), card.noted.get("model_calls_per_picture")
    cells = {
        "guidance": DASH if guidance is None else f"{guidance:g}",
        "steps": DASH if steps is None else str(steps),
        "solver": DASH if solver is None else f"{solver}, {calls} calls" if calls else solver,
    }
    return tuple(cells[name] for name in head.settings)


def _published_cells(board: Leaderboard, row: PublishedRow, head: _Head, source: int) -> tuple[str, ...]:
    table = board.published
    assert table is not None
    values = []
    for column in head.metrics:
        facts = table.metrics.get(column.metric)
        is_another = facts is None or (facts.unit and column.unit and facts.unit != column.unit)
        text = DASH if is_another else printed(row.values.get(column.metric), table.decimals)
        values.append(text + TRAINED_MARK if text != DASH and _is_trained(row, column) else text)
    tags = [printed(row.tags.get(tag), table.decimals) for tag in head.tags]
    unknown = [DASH] * len(head.settings)
    origin = [f"{row.origin} [{source}]", *[DASH] * len(head.rank)]
    return (row.model, *unknown, *origin, values[0], *[DASH] * len(head.gains), *values[1:], *tags)


def _notes(board: Leaderboard, sources: Sequence[str], head: _Head, *, any_trained: bool) -> Iterator[str]:
    rows = board.rows
    if rows:
        yield footnotes.counts([row.results for row in rows])
    if "solver" in head.settings:
        yield "solver: how the steps were taken, and how often the model was called for one picture."
    if any(row.ranks for row in rows):
        yield (
            "rank: the best and worst place that chance leaves open (paired tests of all pairs, Holm's correction); "
            "bold: the best place is among them."
        )
    if board.baseline and head.gains:
        holm = "; p Holm: p adjusted for the number of gains" if "p Holm" in head.gains else ""
        kind = footnotes.kind_of_interval(row.gain for row in rows)
        yield (
            f"gain: difference to '{board.baseline.label}', the best of the base rows, "
            f"paired by prompt and seed{kind and f', with its {kind}'}{holm}."
        )
    yield from footnotes.unseen(board.unseen)
    if any_trained:
        yield f"{TRAINED_MARK} trained on this reward, or a variant of it: it tells little about anything else."
    against = "the baseline's" if board.baseline else "the first row's"
    for differs in dict.fromkeys(row.differs for row in rows if row.differs):
        labels = [row.results.label for row in rows if row.differs == differs]
        yield f"{DIFFERS_MARK} {'; '.join(labels)}, settings other than {against}: {'; '.join(differs)}."
    for row in rows:
        for metric, why in row.unlike.items():
            yield f"{row.results.label}: {metric} was scored by another scorer ({why}), so it is not shown."
    yield from footnotes.unscored([row.results for row in rows])
    yield from board.apart
    if board.published is not None:
        yield from _published_notes(board, board.published, sources)


def _published_notes(board: Leaderboard, table: PublishedTable, sources: Sequence[str]) -> Iterator[str]:
    yield f"Printed by others, neither ranked nor tested here. {table.about}".strip()
    size = f"{table.prompts} prompts x {table.images_per_prompt} pictures"
    for row in board.rows[:1]:
        agreed = row.results.card.must_agree
        if (agreed["num_prompts"], agreed["images_per_prompt"]) != (table.prompts, table.images_per_prompt):
            yield f"The protocol of the printed rows is {size}: the measured rows are not that, so do not compare them."
    for place, source in enumerate(sources, 1):
        how = dict.fromkeys(MEASURED_BY[row.measured_by] for row in table.rows if row.source == source)
        yield f"[{place}] {source}: {'; '.join(how)}."
    for copied in table.rows:
        facts = [f"often mislabelled '{copied.mislabelled_as}'"] if copied.mislabelled_as else []
        facts += [copied.note.rstrip(".")] if copied.note else []
        if facts:
            yield f"{copied.model} [{sources.index(copied.source) + 1}]: {'. '.join(facts)}."


def _data(board: Leaderboard, row: Row) -> dict[str, Any]:
    """The row at full precision, a column for each number and bound."""
    results = row.results
    data: dict[str, Any] = {"suite": board.suite, "model": results.label, "origin": row.origin, "source": "flowbench"}
    data |= {"is_base": row.is_base, "trained_on": " ".join(row.trained_on), **results.card.declared}
    data |= {"model_calls_per_picture": results.card.noted.get("model_calls_per_picture")}
    data |= {"prompts": results.summary.prompts, "pictures": results.summary.images}
    for column in board.columns:
        metric = column.metric
        data |= _bounds(metric, None if metric in row.unlike else results.interval(metric))
        best, worst = row.ranks.get(metric, (None, None))
        data |= {f"{metric} unit": column.unit, f"{metric} direction": column.direction}
        data |= {f"{metric} best rank": best, f"{metric} worst rank": worst}
        data |= {f"{metric} trained on": _is_trained(row, column)}
    if board.baseline:
        gain = row.gain
        numbers = (gain.difference, gain.low, gain.high, gain.p, gain.detectable) if gain else (math.nan,) * 5
        heads = ("gain", "gain low", "gain high", "gain p", "gain detectable")
        data |= dict(zip(heads, numbers, strict=True)) | {"gain p Holm": row.p_holm}
    for tag in board.tags:
        data |= _bounds(f"{board.headline} {tag}", results.interval(board.headline, tag))
    how = footnotes.kind_of_interval([results.interval(board.headline)])
    return data | {"interval": how, "settings differ": "; ".join(row.differs), "folder": str(results.folder)}


def _bounds(name: str, interval: Interval | None) -> dict[str, Any]:
    mean, low, high = (interval.mean, interval.low, interval.high) if interval else (None, None, None)
    return {name: mean, f"{name} low": low, f"{name} high": high}


def _published_data(board: Leaderboard, row: PublishedRow) -> dict[str, Any]:
    table = board.published
    assert table is not None
    data: dict[str, Any] = {"suite": board.suite, "model": row.model, "origin": row.origin, "source": row.source}
    data |= {"is_base": "", "trained_on": " ".join(row.trained_on)}
    for metric, value in row.values.items():
        data |= {metric: value, f"{metric} unit": table.metrics[metric].unit}
        data |= {f"{metric} direction": table.metrics[metric].direction}
    data |= {f"{table.headline} {tag}": value for tag, value in row.tags.items()}
    return data | {
        "measured by": row.measured_by,
        "resolution": row.resolution,
        "rewriter": row.rewriter,
        "mislabelled as": row.mislabelled_as,
        "note": row.note,
    }
