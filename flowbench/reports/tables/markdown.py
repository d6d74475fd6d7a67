"""A table as Markdown, with its notes below; any text as Markdown that shows it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flowbench.reports.tables.table import Table
from flowbench.terminal import one_line

_SIGNS = {"\\": "\\\\", "&": "&amp;", "<": "&lt;", ">": "&gt;"} | {sign: f"\\{sign}" for sign in "|*`~$"}
_EDGE_OF_A_WORD = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""There alone an underscore is emphasis."""
_LINK = re.compile(r"(?<=\])(?=[\[(:])|(?<=!)(?=\[)|(?<=:)(?=//)|(?<=www)(?=\.)", re.IGNORECASE)
"""Where a backslash keeps brackets and bare addresses from becoming links and pictures."""
_BLOCK = re.compile(r"(\d*)([#+=-]+|(?<=\d)[.)])(?=\s|$)")
"""At the head of a line: of a heading, a list, a rule."""


def to_markdown(table: Table) -> str:
    """A Markdown table with its notes below."""
    marks = [":---" if place == 0 else "---:" for place in range(len(table.header))]
    rows = [
        [f"**{escaped(cell)}**" if (place, column) in table.bold else escaped(cell) for column, cell in enumerate(row)]
        for place, row in enumerate(table.rows)
    ]
    header = [escaped(cell) for cell in table.header]
    lines = [f"| {' | '.join(cells)} |" for cells in (header, marks, *rows)]
    notes = [f"- {escaped(note)}" for note in table.notes]
    return "\n".join([f"**{escaped(table.title)}**", "", *lines, "", *notes]).rstrip() + "\n"


def escaped(text: str) -> str:
    """One line of any text: no column more, no emphasis, no formula, no HTML, no link, no heading."""
    line = " ".join(one_line(text).split())
    line = "".join(_SIGNS.get(sign, sign) for sign in line)
    line = _LINK.sub(r"\\", _EDGE_OF_A_WORD.sub(r"\\_", line))
    return _BLOCK.sub(r"\1\\\2", line) if _BLOCK.match(line) else line


def fenced(lines: Sequence[str]) -> list[str]:
    """Lines of code between fences that none of them can close."""
    shown = [one_line(line) for line in lines]
    longest = max((len(found) for line in shown for found in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, *shown, fence]
