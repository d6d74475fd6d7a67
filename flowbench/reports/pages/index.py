"""The page that leads to a folder's pages: its training report, its evaluations with their numbers, its comparisons."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from flowbench.errors import FlowbenchError
from flowbench.evals.evaluation import read_summary
from flowbench.reports.pages.page import render
from flowbench.reports.tables.cells import bounded
from flowbench.reports.tables.footnotes import kind_of_interval
from flowbench.version import __version__

DEPTH = 4  # folders below the one that is served: runs/<run>/eval/<evaluation>


@dataclass(frozen=True)
class Entry:
    """A training run or an evaluation. `pages`: (what it is, its address); from `suite` on, of an evaluation only."""

    name: str
    place: str
    pages: list[tuple[str, str]] = field(default_factory=list)
    suite: str = ""
    metric: str = ""
    value: str = ""
    interval: str = ""


def index_page(root: Path) -> str:
    """The index of what lies below `root` now."""
    reports, evaluations = [], []
    for folder in _folders(root):
        if (folder / "report.html").is_file():
            reports.append(
                Entry(
                    _name(folder), _place(root, folder), [("training report", _address(root, folder / "report.html"))]
                )
            )
        if (folder / "summary.json").is_file():
            evaluations.append(_evaluation(root, folder))
    unwritten = any(not entry.pages for entry in evaluations)
    return render(
        "pages/index.html.j2",
        styles=("gallery/gallery.css",),
        title=_name(root),
        version=__version__,
        reports=reports,
        evaluations=sorted(evaluations, key=lambda entry: (not entry.pages, entry.place)),
        unwritten=unwritten,
        intervals=list(dict.fromkeys(entry.interval for entry in evaluations if entry.interval)),
    )


def _evaluation(root: Path, folder: Path) -> Entry:
    pages = [("gallery", folder / "gallery.html")] if (folder / "gallery.html").is_file() else []
    pages += [(page.stem.replace("-", " "), page) for page in sorted(folder.glob("against-*.html"))]
    links = [(what, _address(root, page)) for what, page in pages]
    try:
        summary = read_summary(folder)
        found = summary.metrics[summary.headline].overall if summary.headline in summary.metrics else None
        value, kind = bounded(found), kind_of_interval([found])
        return Entry(summary.label, _place(root, folder), links, summary.suite, summary.headline, value, kind)
    except FlowbenchError:  # another's file of that name: shown, not understood
        return Entry(_name(folder), _place(root, folder), links)


def _folders(root: Path) -> Iterator[Path]:
    """`root` and what lies below it, in order; pictures, hidden folders and links are not looked into."""
    for place, names, _ in os.walk(root):
        folder = Path(place)
        yield folder
        deep = len(folder.relative_to(root).parts) >= DEPTH
        names[:] = [] if deep else sorted(name for name in names if name[0] != "." and name not in _SKIPPED)


_SKIPPED = {"images", "scores", "checkpoints", "samples", "tensorboard"}


def _name(folder: Path) -> str:
    return folder.resolve().name or str(folder)


def _place(root: Path, folder: Path) -> str:
    return folder.relative_to(root).as_posix().removeprefix(".")


def _address(root: Path, page: Path) -> str:
    return "/" + quote(page.relative_to(root).as_posix())
