"""A leaderboard as a table: measured rows with intervals, ranks and gains, then what others printed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from flowbench.evals.facts import Facts
from flowbench.evals.leaderboard import Leaderboard, Row
from flowbench.evals.provenance import in_domain
from flowbench.evals.published import MEASURED_BY, PublishedRow, PublishedTable
from flowbench.reports.tables import footnotes
from flowbench.reports.tables.cells import DASH, bounded, headed, number, p_value, printed, ranks, signed
from flowbench.reports.tables.table import Place, Table
from flowbench.stats.intervals import Interval

DIFFERS_MARK = "†"
TRAINED_MARK = "‡"


def leaderboard_table(board: Leaderboard) -> Table:
    """One line per evaluation: settings, origin, rank, headline, gain, the metrics beside it, the headline of each tag.

    Published rows follow, apart, with the digits that they were printed with.
    """
    columns = _columns(board)
    copied = board.published.rows if board.published else ()
    sources = list(dict.fromkeys(row.source for row in copied))
    rows = [_cells(board, row, columns) for row in board.rows]
    rows += [_published_cells(board, row, columns, sources.index(row.source) + 1) for row in copied]
    first = len(board.rows)
    return Table(
        f"{board.suite}: {board.headline}",
        tuple(_header(board, columns)),
        tuple(rows),
        tuple(_notes(board, sources)),
        bold=frozenset(_places(board, columns, _is_best)),
        shaded=frozenset(_places(board, columns, _is_trained)),
        base=frozenset(place for place, row in enumerate(board.rows) if row.is_base),
        copied=frozenset(range(first, first + len(copied))),
        data=tuple(
            [_data(board, row, columns) for row in board.rows] + [_published_data(board, row) for row in copied]
        ),
    )


def _columns(board: Leaderboard) -> list[Facts]:
    """The board's, then what only published rows have. A published number in another unit gets a column of its own."""
    columns = list(board.columns)
    if board.published is not None:
        known = {column.metric: column for column in columns}
        for metric, facts in board.published.metrics.items():
            unlike = metric in known and facts.unit and known[metric].unit and facts.unit != known[metric].unit
            if metric not in known or unlike:
                columns.append(Facts(metric, facts.scorer, facts.unit, facts.direction))
    return columns


def _tags(board: Leaderboard) -> tuple[str, ...]:
    published = board.published.tags if board.published and board.published.headline == board.headline else ()
    return tuple(dict.fromkeys((*board.tags, *published)))


def _settings(board: Leaderboard) -> tuple[str, ...]:
    return ("guidance", "steps") if board.rows else ()


def _rank(board: Leaderboard) -> tuple[str, ...]:
    return ("rank",) if any(board.headline in row.ranks for row in board.rows) else ()


def _gains(board: Leaderboard) -> tuple[str, ...]:
    """The columns of the gain. One gain alone needs no adjustment."""
    num_gains = sum(row.gain is not None for row in board.rows)
    return ("gain", "p", "p Holm")[: min(num_gains, 2) + 1] if num_gains else ()


def _header(board: Leaderboard, columns: Sequence[Facts]) -> Iterator[str]:
    heads = [headed(column.metric, column.direction, column.unit) for column in columns]
    yield from ("model", *_settings(board), "origin", *_rank(board), heads[0], *_gains(board), *heads[1:])
    yield from (f"{tag}{footnotes.UNSEEN_MARK if tag in board.unseen else ''}" for tag in _tags(board))


def _place_of(board: Leaderboard, column: int) -> int:
    """Where the table has the board's `column`: the headline behind the model's facts, then gains, then the others."""
    before = 2 + len(_settings(board)) + len(_rank(board))
    return before if column == 0 else before + len(_gains(board)) + column


def _places(board: Leaderboard, columns: Sequence[Facts], chosen: Any) -> Iterator[Place]:
    for place, row in enumerate([*board.rows, *(board.published.rows if board.published else ())]):
        for number_of, column in enumerate(columns):
            if chosen(row, column):
                yield place, _place_of(board, number_of)


def _is_best(row: Row | PublishedRow, column: Facts) -> bool:
    return isinstance(row, Row) and row.ranks.get(column.metric, (0, 0))[0] == 1


def _is_trained(row: Row | PublishedRow, column: Facts) -> bool:
    held = row.values if isinstance(row, PublishedRow) else row.results.summary.metrics
    return column.metric in held and in_domain(column.scorer, row.trained_on)


def _cells(board: Leaderboard, row: Row, columns: Sequence[Facts]) -> tuple[str, ...]:
    results = row.results
    declared = results.card.declared
    guidance, steps = declared.get("guidance"), declared.get("steps")  # unknown of pictures that were made elsewhere
    values = [_value(row, column) if place < len(board.columns) else DASH for place, column in enumerate(columns)]
    differs = DIFFERS_MARK if row.differs else ""
    return (
        f"{results.label} (baseline)" if results is board.baseline else results.label,
        DASH if guidance is None else f"{guidance:g}",
        DASH if steps is None else str(steps),
        row.origin,
        *[ranks(row.ranks.get(board.headline))] * len(_rank(board)),
        values[0] + (differs if row.gain is None else ""),
        *_gain_cells(board, row, differs),
        *values[1:],
        *(number(results.mean(board.headline, tag)) for tag in _tags(board)),
    )


def _value(row: Row, column: Facts) -> str:
    if column.metric in row.unlike:
        return DASH
    text = bounded(row.results.interval(column.metric))
    return text + TRAINED_MARK if text != DASH and _is_trained(row, column) else text


def _gain_cells(board: Leaderboard, row: Row, differs: str) -> list[str]:
    if row.gain is None:
        return [DASH] * len(_gains(board))
    described = board.columns[0].direction == "none"
    p_values = [DASH if described else p_value(row.gain.p), p_value(row.p_holm)]
    return [signed(row.gain) + differs, *p_values][: len(_gains(board))]


def _published_cells(board: Leaderboard, row: PublishedRow, columns: Sequence[Facts], source: int) -> tuple[str, ...]:
    table = board.published
    assert table is not None
    values = [_printed_value(table, row, column) for column in columns]
    tags = [printed(row.tags.get(tag), table.decimals) for tag in _tags(board)]
    unknown = [DASH] * len(_settings(board))
    origin = [f"{row.origin} [{source}]", *[DASH] * len(_rank(board))]
    return (row.model, *unknown, *origin, values[0], *[DASH] * len(_gains(board)), *values[1:], *tags)


def _printed_value(table: PublishedTable, row: PublishedRow, column: Facts) -> str:
    facts = table.metrics.get(column.metric)
    if facts is None or (facts.unit and column.unit and facts.unit != column.unit):
        return DASH
    text = printed(row.values.get(column.metric), table.decimals)
    return text + TRAINED_MARK if text != DASH and _is_trained(row, column) else text


def _notes(board: Leaderboard, sources: Sequence[str]) -> Iterator[str]:
    rows = board.rows
    if rows:
        yield footnotes.counts([row.results for row in rows])
    if any(row.ranks for row in rows):
        yield (
            "rank: the best and worst place that chance leaves open (paired tests of all pairs, Holm's correction); "
            "bold: the best place is among them."
        )
    if board.baseline and _gains(board):
        holm = "; p Holm: p adjusted for the number of gains" if "p Holm" in _gains(board) else ""
        kind = footnotes.kind_of_interval(row.gain for row in rows)
        yield (
            f"gain: difference to '{board.baseline.label}', the best of the base rows, "
            f"paired by prompt and seed{kind and f', with its {kind}'}{holm}."
        )
    yield from footnotes.unseen(board.unseen)
    if any(True for _ in _places(board, _columns(board), _is_trained)):
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


def _data(board: Leaderboard, row: Row, columns: Sequence[Facts]) -> dict[str, Any]:
    """The row at full precision, a column for each number and bound."""
    results = row.results
    data: dict[str, Any] = {"suite": board.suite, "model": results.label, "origin": row.origin, "source": "flowbench"}
    data |= {"is_base": row.is_base, "trained_on": " ".join(row.trained_on), **results.card.declared}
    data |= {"prompts": results.summary.prompts, "pictures": results.summary.images}
    for column in columns[: len(board.columns)]:
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
