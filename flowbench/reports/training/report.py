"""The report of a training run: headline table, pictures before and after, curves, settings, on one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flowbench import store
from flowbench.errors import MissingFile
from flowbench.evals.evaluation import PARTS
from flowbench.evals.leaderboard import Leaderboard, find_leaderboards
from flowbench.reports.pages.page import environment
from flowbench.reports.tables.leaderboards import leaderboard_table
from flowbench.reports.training.before_after import BeforeAfter
from flowbench.reports.training.curves import Curve, grouped, read_curves, short, to_svg
from flowbench.version import __version__

PROMPTS_PER_TAG = 3
CHANGED_PICTURES = 6


def training_report(
    run_folder: str | Path,
    *,
    evaluations: Sequence[str | Path] = (),
    bases: Sequence[str | Path] = (),
    galleries: Sequence[Path] = (),
) -> Path:
    """Write `<run_folder>/report.html` and return its path.

    `evaluations` and `bases` are evaluation folders, or run folders whose evaluations all count. `bases` are the base
    rows (when none are named, those of models without an adapter); gains are measured against the better of them, and
    it is the "before" of the pictures. `galleries` are pages below the run folder that this one links to. What is not
    there (no log yet, no evaluation) is left out. Raises MissingFile when the run folder or a picture of an evaluation
    is not there, else as `find_leaderboards` does.
    """
    run_folder = Path(run_folder)
    if not run_folder.is_dir():
        raise MissingFile(f"{run_folder}: there is no such run folder. Check the path.")
    boards = find_leaderboards(evaluations, bases) if evaluations or bases else []
    groups = grouped(read_curves(store.read_jsonl(run_folder / "log.jsonl")))
    page = (
        _environment()
        .get_template("training/report.html.j2")
        .render(
            title=run_folder.resolve().name,
            version=__version__,
            galleries=[(path.parent.name, _address(path, run_folder)) for path in galleries],
            boards=[(board, leaderboard_table(board)) for board in boards],
            pictures=_pictures(boards),
            groups=groups,
            num_steps=max((curve.points[-1][0] for curves in groups.values() for curve in curves), default=None),
            config=_text(run_folder / "config.yaml"),
            cards=[
                (row.results.label, {part: getattr(row.results.card, part) for part in PARTS})
                for board in boards
                for row in board.rows
            ],
        )
    )
    return store.write_text(run_folder / "report.html", page)


def _environment() -> Any:
    """The shared templates, with what this page's charts need."""
    from markupsafe import Markup

    def svg(curve: Curve) -> Markup:
        return Markup(to_svg(curve))  # numbers only: nothing in it is anyone's text

    overlay = environment().overlay()
    overlay.filters = overlay.filters | {"short": short, "svg": svg}
    return overlay


def _pictures(boards: Sequence[Leaderboard]) -> dict[str, Any] | None:
    """Before and after from the first suite that has both; the best trained row is the "after"."""
    for board in boards:
        trained = [row.results for row in board.rows if not row.is_base]
        if board.baseline is not None and trained:
            both = BeforeAfter(board.baseline, trained[0])
            return {
                "suite": board.suite,
                "headline": board.headline,
                "before": both.before.label,
                "after": both.after.label,
                "changes": both.changes(),
                "first": both.first_of_each_tag(PROMPTS_PER_TAG),
                "mended": both.mended(CHANGED_PICTURES),
                "broken": both.broken(CHANGED_PICTURES),
            }
    return None


def _address(path: Path, folder: Path) -> str:
    return quote(path.resolve().relative_to(folder.resolve()).as_posix())


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
