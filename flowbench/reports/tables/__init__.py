"""Tables: built once as text, then shown in the terminal or written as Markdown, CSV, LaTeX or HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "DASH": "flowbench.reports.tables.cells",
    "Table": "flowbench.reports.tables.table",
    "bounded": "flowbench.reports.tables.cells",
    "comparison_table": "flowbench.reports.tables.evaluations",
    "leaderboard_table": "flowbench.reports.tables.leaderboards",
    "number": "flowbench.reports.tables.cells",
    "p_value": "flowbench.reports.tables.cells",
    "scores_table": "flowbench.reports.tables.evaluations",
    "signed": "flowbench.reports.tables.cells",
    "summary_table": "flowbench.reports.tables.evaluations",
    "to_csv": "flowbench.reports.tables.formats",
    "to_markdown": "flowbench.reports.tables.markdown",
    "to_rich": "flowbench.reports.tables.formats",
    "write": "flowbench.reports.tables.formats",
}
__all__ = [
    "DASH",
    "Table",
    "bounded",
    "comparison_table",
    "leaderboard_table",
    "number",
    "p_value",
    "scores_table",
    "signed",
    "summary_table",
    "to_csv",
    "to_markdown",
    "to_rich",
    "write",
]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.reports.tables.cells import DASH, bounded, number, p_value, signed
    from flowbench.reports.tables.evaluations import comparison_table, scores_table, summary_table
    from flowbench.reports.tables.formats import to_csv, to_rich, write
    from flowbench.reports.tables.leaderboards import leaderboard_table
    from flowbench.reports.tables.markdown import to_markdown
    from flowbench.reports.tables.table import Table
