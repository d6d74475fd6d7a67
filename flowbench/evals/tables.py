"""Tables of evaluations: built once as text, then shown in the terminal, as Markdown or as CSV.

A dash is "not measured", never 0. Brackets hold the 95 % interval (bootstrap over prompts, stratified by tag).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowbench.evals.compare import Paired
from flowbench.evals.leaderboard import Leaderboard, Row
from flowbench.evals.results import Comparison, Results

if TYPE_CHECKING:
    from rich.console import RenderableType

DASH = "–"
UNSEEN_MARK = "*"
DIFFERS_MARK = "†"
NAME_WIDTH = 30
_ARROWS = {"higher": "↑", "lower": "↓", "none": ""}
COLUMN_GAP = 3  # one blank on each side and one between


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column is left-aligned, the others right. `notes` stand below."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def leaderboard_table(board: Leaderboard) -> Table:
    """One line per evaluation: settings, headline, gain, the metrics beside it, the headline of each tag."""
    tags = [f"{tag}{UNSEEN_MARK if tag in board.unseen else ''}" for tag in board.tags]
    gain = ["gain", "p"] if board.baseline else []
    header = ("model", "guidance", "steps", f"{board.headline} ↑", *gain, *board.also_show, *tags)
    rows = tuple(_leaderboard_cells(board, row) for row in board.rows)
    return Table(f"{board.suite}: {board.headline}", header, rows, tuple(_leaderboard_notes(board)))


def comparison_table(candidate: Results, baseline: Results, lines: Sequence[Comparison]) -> Table:
    """One line per metric and tag: both means, the paired difference with its interval, and p."""
    rows = tuple(
        (
            f"{line.metric}{' / ' + line.tag if line.tag else ''}",
            number(line.baseline),
            number(line.candidate),
            signed(line.paired),
            p_value(line.paired.p),
        )
        for line in lines
    )
    title = f"{candidate.summary['suite']}: {candidate.label} against {baseline.label}"
    notes = ["Difference: candidate minus baseline, paired by prompt and seed, with its 95 % interval."]
    notes += [f"Settings differ: {'; '.join(_declared_differences(candidate, baseline))}."] * (
        candidate.card["declared"] != baseline.card["declared"]
    )
    return Table(title, ("metric", "baseline", "candidate", "difference", "p"), rows, tuple(notes))


def summary_table(results: Results) -> Table:
    """One evaluation: a line per metric, overall with its interval and the mean of each tag."""
    rows = tuple(
        (metric, bounded(results.interval(metric)), *(number(results.mean(metric, tag)) for tag in results.tags))
        for metric in results.metrics
    )
    unseen = [tag for tag in results.tags if tag in results.summary["unseen"]]
    header = ("metric", "overall", *(f"{tag}{UNSEEN_MARK if tag in unseen else ''}" for tag in results.tags))
    notes = [_counts(results), *_unseen_notes(unseen), *_unscored_notes([results])]
    return Table(f"{results.summary['suite']}: {results.label}", header, rows, tuple(notes))


def scores_table(title: str, scored: Sequence[Results]) -> Table:
    """Several scorers of the same pictures: a line for each, since no two need share a unit."""
    tags = list(dict.fromkeys(tag for each in scored for tag in each.tags))
    rows = tuple(
        (
            f"{each.summary['suite']} {_ARROWS[each.summary['direction']]}".rstrip(),
            each.summary["unit"],
            bounded(each.interval("value")),
            *(number(each.mean("value", tag)) for tag in tags),
        )
        for each in scored
    )
    agreed = [each.card["must_agree"] for each in scored]
    counts = dict.fromkeys(f"{each['num_prompts']} prompts, {each['num_images']} pictures" for each in agreed)
    mean = f"; overall is the unweighted mean of {len(tags)} tags" if len(tags) > 1 else ""
    bounds = any(each.interval("value").get("low") is not None for each in scored)
    sure = "brackets: 95 % interval, bootstrap over prompts" if bounds else "too few prompts for intervals"
    notes = [f"{'; '.join(counts)}{mean}; {sure}."]
    return Table(title, ("scorer", "unit", "overall", *tags), rows, (*notes, *_unscored_lines(scored)))


def to_rich(table: Table, width: int) -> RenderableType:
    """For a terminal `width` characters wide: the columns in as many blocks as it takes, the names in each."""
    from rich.console import Group
    from rich.text import Text

    blocks = [_rich_block(table, columns) for columns in _columns_that_fit(table, width)]
    return Group(Text(table.title, style="bold"), *blocks, Text("\n".join(table.notes), style="dim"))


def to_markdown(table: Table) -> str:
    """A Markdown table with its notes below."""
    marks = [":---" if place == 0 else "---:" for place in range(len(table.header))]
    lines = [_markdown_line(cells) for cells in (table.header, marks, *table.rows)]
    notes = [f"- {_escaped(note)}" for note in table.notes]
    return "\n".join([f"**{_escaped(table.title)}**", "", *lines, "", *notes]).rstrip() + "\n"


def to_csv(table: Table) -> str:
    """Header and rows; the notes are left out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([table.header, *table.rows])
    return text.getvalue()


def number(value: float | None) -> str:
    """Three decimals, or a dash."""
    return DASH if value is None or math.isnan(value) else f"{value:.3f}"


def bounded(interval: dict[str, Any]) -> str:
    """'0.512 [0.480, 0.544]', the mean alone where there is no interval (too few prompts), or a dash."""
    if interval.get("mean") is None or interval["low"] is None:
        return number(interval.get("mean"))
    return f"{number(interval['mean'])} [{number(interval['low'])}, {number(interval['high'])}]"


def signed(paired: Paired) -> str:
    """'+0.051 [+0.020, +0.083]', the difference alone where there is no interval, or a dash."""
    if math.isnan(paired.difference):
        return DASH
    if math.isnan(paired.low):
        return f"{paired.difference:+.3f}"
    return f"{paired.difference:+.3f} [{paired.low:+.3f}, {paired.high:+.3f}]"


def p_value(p: float) -> str:
    """Four decimals below 0.01, else three."""
    if math.isnan(p):
        return DASH
    return f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def _columns_that_fit(table: Table, width: int) -> list[list[int]]:
    """Blocks of columns, the first column at the head of each, none wider than `width` if that can be."""
    widths = [max(map(len, column)) + COLUMN_GAP for column in zip(table.header, *table.rows, strict=True)]
    names = min(widths[0], NAME_WIDTH + COLUMN_GAP)
    blocks: list[list[int]] = [[0]]
    used = names
    for column in range(1, len(widths)):
        if used + widths[column] > width - 1 and len(blocks[-1]) > 1:
            blocks.append([0])
            used = names
        blocks[-1].append(column)
        used += widths[column]
    return blocks


def _rich_block(table: Table, columns: Sequence[int]) -> RenderableType:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    block = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for column in columns:
        # Only names may be broken: half a number is a wrong number. Text, since brackets would be read as markup.
        width = {"max_width": NAME_WIDTH, "overflow": "fold"} if column == 0 else {"justify": "right", "no_wrap": True}
        block.add_column(Text(table.header[column]), **width)  # type: ignore[arg-type]
    for row in table.rows:
        block.add_row(*(Text(row[column]) for column in columns))
    return block


def _leaderboard_cells(board: Leaderboard, row: Row) -> tuple[str, ...]:
    results = row.results
    declared = results.card["declared"]
    name = f"{results.label} (baseline)" if results is board.baseline else results.label
    guidance, steps = declared.get("guidance"), declared.get("steps")  # unknown of pictures that were made elsewhere
    cells = [
        name,
        DASH if guidance is None else f"{guidance:g}",
        DASH if steps is None else str(steps),
        bounded(results.interval(board.headline)),
    ]
    if board.baseline:
        mark = DIFFERS_MARK if row.differs else ""
        cells += [signed(row.gain) + mark, p_value(row.gain.p)] if row.gain else [DASH, DASH]
    cells += [number(results.mean(metric)) for metric in board.also_show]
    cells += [number(results.mean(board.headline, tag)) for tag in board.tags]
    return tuple(cells)


def _leaderboard_notes(board: Leaderboard) -> list[str]:
    notes = [_counts(board.rows[0].results)]
    if board.baseline:
        notes.append(
            f"gain: difference to '{board.baseline.label}', the best of the base rows, "
            "paired by prompt and seed, with its 95 % interval."
        )
    notes += _unseen_notes(board.unseen)
    for row in board.rows:
        if row.differs:
            notes.append(
                f"{DIFFERS_MARK} {row.results.label}, settings other than the baseline's: {'; '.join(row.differs)}."
            )
    return notes + _unscored_notes([row.results for row in board.rows])


def _counts(results: Results) -> str:
    agreed = results.card["must_agree"]
    num_tags = len(results.tags)
    mean = f"overall is the unweighted mean of {num_tags} tags; " if num_tags else ""
    return (
        f"{agreed['num_prompts']} prompts x {agreed['images_per_prompt']} pictures; {mean}"
        "brackets: 95 % interval, bootstrap over prompts."
    )


def _unseen_notes(unseen: Sequence[str]) -> list[str]:
    if not unseen:
        return []
    return [f"{UNSEEN_MARK} the training split holds the same prompts: evaluated on unseen seeds, not unseen prompts."]


def _unscored_lines(scored: Sequence[Results]) -> list[str]:
    return [
        f"{each.summary['suite']}: {each.summary['unscored']} of {each.summary['images']} unscored "
        f"({_reasons(each.summary)}), left out of its mean."
        for each in scored
        if each.summary["unscored"]
    ]


def _reasons(summary: dict[str, Any], most: int = 2) -> str:
    """The most frequent reasons; one that names its prompt comes once for each prompt."""
    reasons = summary["unscored_reasons"]
    often = sorted(reasons, key=lambda reason: -reasons[reason])
    more = [f"{len(often) - most} more reasons like these"] * (len(often) > most)
    return "; ".join([*often[:most], *more])


def _unscored_notes(results: Sequence[Results]) -> list[str]:
    return [
        f"{result.label}: {result.summary['unscored']} of {result.summary['images']} pictures unscored "
        f"({_reasons(result.summary)}), left out of its means."
        for result in results
        if result.summary["unscored"]
    ]


def _declared_differences(a: Results, b: Results) -> list[str]:
    ours, theirs = a.card["declared"], b.card["declared"]
    return [f"{name} {ours[name]} against {theirs.get(name)}" for name in ours if ours[name] != theirs.get(name)]


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("\n", " ")
