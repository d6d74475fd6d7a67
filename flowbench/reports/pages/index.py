"""The page that leads to a folder's pages: its training report, its evaluations with their numbers, its comparisons."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from flowbench.errors import FlowbenchError
from flowbench.evals.evaluation import read_summary
from flowbench.layout import EvaluationFolder, RunFolder
from flowbench.reports.pages.page import render
from flowbench.reports.tables.cells import bounded
from flowbench.reports.tables.footnotes import kind_of_interval
from flowbench.version import __version__

DEPTH = 4
"""Folders below the one that is served: runs/<run>/eval/<evaluation>."""
_RUN, _EVALUATION = RunFolder(Path()), EvaluationFolder(Path())
SKIPPED = {
    path.name for path in (_RUN.checkpoints, _RUN.samples, _RUN.tensorboard, _EVALUATION.images, _EVALUATION.scores)
}
"""Folders without pages."""


@dataclass(frozen=True)
class Entry:
    """A training run or an evaluation."""

    name: str
    """Of the run's folder; the evaluation's label."""
    place: str
    """The folder, relative to the one that is served."""
    pages: list[tuple[str, str]]
    """(what it is, its address)"""
    suite: str = ""
    """Of an evaluation, as the three below."""
    metric: str = ""
    """The headline's name."""
    value: str = ""
    """The headline's mean and interval."""
    interval: str = ""
    """What the interval is."""


def index_page(root: Path) -> str:
    """The index of what lies below `root` now; pictures, hidden folders and links are not looked into."""
    reports, evaluations = [], []
    for place, names, _ in os.walk(root):
        folder = Path(place)
        is_deep = len(folder.relative_to(root).parts) >= DEPTH
        names[:] = [] if is_deep else sorted(name for name in names if name[0] != "." and name not in SKIPPED)
        report = RunFolder(folder).report
        if os.path.isfile(report):  # False, too, where it may not be looked at
            reports.append(Entry(_name(folder), _place(root, folder), [("training report", _address(root, report))]))
        if os.path.isfile(EvaluationFolder(folder).summary):
            with suppress(FileNotFoundError):  # folders that go while they are looked through are left out
                evaluations.append(_evaluation(root, EvaluationFolder(folder)))
    unwritten = any(not entry.pages for entry in evaluations)
    return render(
        "pages/index.html.j2",
        styles=("gallery/gallery.css",),
        title=_name(root),
        version=__version__,
        reports=reports,
        evaluations=sorted(evaluations, key=lambda entry: (not entry.pages, entry.place)),
        intervals=sorted({entry.interval for entry in evaluations} - {""}),
        unwritten=unwritten,
    )


def _evaluation(root: Path, folder: EvaluationFolder) -> Entry:
    pages = [("gallery", folder.gallery)] if os.path.isfile(folder.gallery) else []
    pages += [(page.stem.replace("-", " "), page) for page in sorted(folder.path.glob("against-*.html"))]
    links, place = [(what, _address(root, page)) for what, page in pages], _place(root, folder.path)
    try:
        summary = read_summary(folder.path)
        found = summary.metrics[summary.headline].overall if summary.headline in summary.metrics else None
        value, kind = bounded(found), kind_of_interval([found])
        return Entry(summary.label, place, links, summary.suite, summary.headline, value, kind)
    except (FlowbenchError, PermissionError):  # another's file of that name: shown, not understood
        return Entry(_name(folder.path), place, links)


def _name(folder: Path) -> str:
    return folder.resolve().name or str(folder)


def _place(root: Path, folder: Path) -> str:
    return folder.relative_to(root).as_posix().removeprefix(".")


def _address(root: Path, page: Path) -> str:
    return "/" + quote(os.fsencode(page.relative_to(root).as_posix()))
