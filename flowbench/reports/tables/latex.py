"""A table as LaTeX: `tabular` with the rules of booktabs, notes below, nothing that needs another package."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flowbench.reports.tables.table import Table
from flowbench.terminal import one_line

_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # at the head of a row, \\ would take it for its argument; so it would the star
    "]": "{]}",
    "*": "{*}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "×": r"$\times$",
}
_MINUS = re.compile(r"(?<![\w-])-(?=[\d.])")
"""Of a number; elsewhere a hyphen is a hyphen."""


def to_latex(table: Table) -> str:
    """The table in LaTeX. Put \\usepackage{booktabs} into the preamble; a wide one goes into \\resizebox."""
    rows = []
    for place, row in enumerate(table.rows):
        cells = [escaped(cell) for cell in row]
        cells = [rf"\textbf{{{cell}}}" if (place, column) in table.bold else cell for column, cell in enumerate(cells)]
        rows.append(_cells([rf"\textit{{{cells[0]}}}", *cells[1:]] if place in table.copied else cells))
    first_copied = min(table.copied, default=None)
    if first_copied:
        rows.insert(first_copied, r"\midrule")
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{escaped(table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        r"\toprule",
        _cells([escaped(cell) for cell in table.header]),
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\footnotesize {escaped(note)}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Any text as LaTeX that prints it, on one line; control characters are printed as their numbers."""
    printed = "".join(_SIGNS.get(sign, sign) for sign in " ".join(one_line(text).split()))
    return _MINUS.sub("$-$", printed)


def _cells(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
