"""Tables as text: built once, then shown in the terminal or written as Markdown, CSV, LaTeX or HTML.

A label, a prompt or a note may come from anywhere: each format makes every cell, header, title and note safe by itself,
at one place: `one_line` for the terminal, `csv_cell`, `escaped` of markdown.py and latex.py, the templates of HTML.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flowbench.reports.tables.html import to_html
from flowbench.reports.tables.latex import to_latex
from flowbench.reports.tables.markdown import to_markdown
from flowbench.reports.tables.table import Table
from flowbench.terminal import one_line, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

NAME_WIDTH = 30
COLUMN_GAP = 3  # one blank on each side and one between
WRITTEN = ("markdown", "csv", "latex", "html")
"""Formats of `write`, beside the terminal (`to_rich`)."""
_FORMULA = re.compile(r"[\t\r\n]|[\s\x00-\x1f\u200b-\u200f\u2060\ufeff]*[=@+\-\uff1d\uff20\uff0b\uff0d]")
"""How a text begins that a spreadsheet takes for a formula: Excel skips blanks, and reads full-width signs as well."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?( \[[+-]?[\d.]+, [+-]?[\d.]+\])?", re.ASCII | re.IGNORECASE)
"""A number, with its interval where it has one."""


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
    return Group(
        Text(one_line(table.title), style="bold"), *blocks, Text("\n".join(map(one_line, table.notes)), style="dim")
    )


def to_csv(table: Table) -> str:
    """The rows at full precision, a column for each number and bound, empty where nothing is known; no notes."""
    text = io.StringIO()
    names, rows = list(table.header), [list(row) for row in table.rows]
    if table.data:
        names = list(dict.fromkeys(name for row in table.data for name in row))
        rows = [[_known(row.get(name)) for name in names] for row in table.data]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([csv_cell(cell) for cell in row] for row in (names, *rows))
    return text.getvalue()


def _known(value: Any) -> Any:
    """Empty for what is not known; NaN is not."""
    return "" if value is None or value != value else value


def csv_cell(value: Any) -> Any:
    """A cell that a spreadsheet shows and does not run: a text that begins as a formula does gets a quote in front, and
    a number stays one."""
    if not isinstance(value, str):
        return value
    shown = printable(value)
    return f"'{shown}" if _FORMULA.match(value) and not _NUMBER.fullmatch(value) else shown


def _columns_that_fit(table: Table, width: int) -> list[list[int]]:
    """Blocks of columns, the first column at the head of each, none wider than `width` if that can be."""
    from rich.cells import cell_len

    columns = zip(table.header, *table.rows, strict=True)
    widths = [max(cell_len(one_line(cell)) for cell in column) + COLUMN_GAP for column in columns]
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
        block.add_column(Text(one_line(table.header[column])), **width)  # type: ignore[arg-type]
    for place, row in enumerate(table.rows):
        plain = "dim" if place in table.copied else ""
        styles = {column: "bold" if (place, column) in table.bold else plain for column in columns}
        block.add_row(*(Text(one_line(row[column]), style=styles[column]) for column in columns))
    return block
