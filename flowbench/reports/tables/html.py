"""Tables as one HTML page that loads nothing: light and dark, wide screens and phones."""

from __future__ import annotations

from collections.abc import Sequence

from flowbench.reports.pages.page import environment
from flowbench.reports.tables.table import Table
from flowbench.version import __version__


def to_html(tables: Sequence[Table], *, title: str = "") -> str:
    """The page. Every text in it is escaped by the template; there is no script on it."""
    heading = title or (tables[0].title if len(tables) == 1 else "Results")
    template = environment().get_template("tables/tables.html.j2")
    return template.render(tables=tables, title=heading, version=__version__)
