"""Tables as text: built once, then shown in the terminal or written as Markdown, CSV, LaTeX or HTML.

A label, a prompt or a note may come from anywhere: each format escapes every cell, header and note by itself.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowbench.reports.tables.html import to_html
from flowbench.reports.tables.latex import to_latex
from flowbench.reports.tables.table import Table

if TYPE_CHECKING:
    from rich.console import RenderableType

NAME_WIDTH = 30
COLUMN_GAP = 3  # one blank on each side and one between
WRITTEN = ("markdown", "csv", "latex", "html")
"""Formats of `write`, beside the terminal (`to_rich`)."""
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\s\d.])")


def write(tables: Sequence[Table], style: str) -> str:
    """The tables one below the other, in one of the formats of `WRITTEN`; HTML is one whole page."""
    if style == "html":
        return to_html(tables)
    return "\n".join({"markdown": to_markdown, "csv": to_csv, "latex": to_latex}[style](table) for table in tables)


def to_rich(table: Table, width: int) -> RenderableType:
    """For a terminal `width` characters wide: the columns in as many blocks as it takes, the names in each."""
    from rich.console import Group
    from rich.text import Text

    blocks = [_rich_block(table, columns) for columns in _columns_that_fit(table, width)]
    return Group(Text(table.title, style="bold"), *blocks, Text("\n".join(table.notes), style="dim"))


def to_markdown(table: Table) -> str:
    """A Markdown table with its notes below."""
    marks = [":---" if place == 0 else "---:" for place in range(len(table.header))]
    rows = [
        [
            f"**{_escaped(cell)}**" if (place, column) in table.bold else _escaped(cell)
            for column, cell in enumerate(row)
        ]
        for place, row in enumerate(table.rows)
    ]
    header = [_escaped(cell) for cell in table.header]
    lines = [f"| {' | '.join(cells)} |" for cells in (header, marks, *rows)]
    notes = [f"- {_escaped(note)}" for note in table.notes]
    return "\n".join([f"**{_escaped(table.title)}**", "", *lines, "", *notes]).rstrip() + "\n"


def to_csv(table: Table) -> str:
    """The rows at full precision, a column for each number and bound, empty where nothing is known; no notes."""
    text = io.StringIO()
    if table.data:
        names = list(dict.fromkeys(name for row in table.data for name in row))
        writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
        writer.writeheader()
        for row in table.data:
            known = {name: value for name, value in row.items() if value is not None and value == value}  # NaN is not
            # a text that a spreadsheet would run as a formula gets a leading quote
            texts = {name: f"'{each}" for name, each in known.items() if isinstance(each, str) and _FORMULA.match(each)}
            writer.writerow(known | texts)
    else:
        csv.writer(text, lineterminator="\n").writerows([table.header, *table.rows])
    return text.getvalue()


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
    for place, row in enumerate(table.rows):
        plain = "dim" if place in table.copied else ""
        styles = {column: "bold" if (place, column) in table.bold else plain for column in columns}
        block.add_row(*(Text(row[column], style=styles[column]) for column in columns))
    return block


def _escaped(cell: str) -> str:
    """No column more, no emphasis, no HTML, no link: Markdown's own signs are shown as they are."""
    cell = cell.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "|*`":
        cell = cell.replace(sign, f"\\{sign}")
    return " ".join(cell.replace("](", "]\\(").split())
