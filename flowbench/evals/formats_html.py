"""Tables as one HTML page that loads nothing: light and dark, wide screens and phones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flowbench import __version__
from flowbench.evals.formats import Table


def to_html(tables: Sequence[Table], *, title: str = "") -> str:
    """The page. Every text in it is escaped by the template; there is no script on it."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    heading = title or (tables[0].title if len(tables) == 1 else "Results")
    page: str = environment.get_template("formats.html.j2").render(tables=tables, title=heading, version=__version__)
    return page
