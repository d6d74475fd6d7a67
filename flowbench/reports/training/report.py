"""The report of a training run: headline table, pictures before and after, curves, settings, on one HTML page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flowbench import store
from flowbench.checkpoints import read_log
from flowbench.errors import MissingFile
from flowbench.evals.evaluation import PARTS
from flowbench.evals.leaderboard import Leaderboard, find_leaderboards
from flowbench.layout import RunFolder
from flowbench.reports.pages.page import environment
from flowbench.reports.reproduce import commands_for_base
from flowbench.reports.tables.leaderboards import leaderboard_table
from flowbench.reports.training.alarms import alarms_of
from flowbench.reports.training.before_after import BeforeAfter
from flowbench.reports.training.curves import (
    FEWEST_SMOOTHED,
    MAX_BUCKETS,
    SMOOTHING,
    Curve,
    grouped,
    read_curves,
    short,
    to_svg,
)
from flowbench.version import __version__

PROMPTS_PER_TAG = 3
CHANGED_PICTURES = 6
BETTER = {"higher": "higher is better", "lower": "lower is better"}


def training_report(
    run_folder: str | Path,
    *,
    evaluations: Sequence[str | Path] = (),
    bases: Sequence[str | Path] = (),
    galleries: Sequence[Path] = (),
    commands: Sequence[str] = (),
) -> Path:
    """Write `<run_folder>/report.html` and return its path.

    `evaluations` and `bases` are evaluation folders, or run folders whose evaluations all count. `bases` are the base
    rows (when none are named, those of models without an adapter); gains are measured against the better of them, and
    it is the "before" of the pictures. `galleries` are pages below the run folder that this one links to. `commands`
    are those that evaluate the run and its base model: the page shows them while the run is not evaluated. What is not
    there (no log yet, no evaluation) is left out. Raises MissingFile when the run folder or a picture of an evaluation
    is not there, else as `find_leaderboards` does.
    """
    from markupsafe import Markup

    def svg(curve: Curve) -> Markup:
        return Markup(to_svg(curve))  # numbers only: nothing in it is anyone's text

    run = RunFolder(Path(run_folder))
    if not run.path.is_dir():
        raise MissingFile(f"{run_folder}: there is no such run folder. Check the path.")
    boards = find_leaderboards(evaluations, bases) if evaluations or bases else []
    pictures = _pictures(boards)
    trained = [
        [row.results for row in board.rows if not (row.is_base or row.results.card.is_of_existing)] for board in boards
    ]
    best = [results[0] for results in trained if results]
    curves = read_curves(read_log(run.log))
    root = run.path.resolve()
    templates = environment().overlay()
    templates.filters = templates.filters | {"short": short, "svg": svg}
    page = templates.get_template("training/report.html.j2").render(
        title=root.name,
        run=str(run.path),
        version=__version__,
        galleries=[
            (path.parent.name, quote(os.fsencode(path.resolve().relative_to(root).as_posix()))) for path in galleries
        ],
        boards=[(board, leaderboard_table(board)) for board in boards],
        lacking="" if pictures else "base" if best else "run",
        commands=commands_for_base(best, run.path) if best else commands,
        pictures=pictures,
        alarms=alarms_of(run),
        groups=grouped(curves),
        num_steps=max((curve.points[-1][0] for curve in curves), default=None),
        smoothing={"weight": SMOOTHING, "fewest": FEWEST_SMOOTHED, "buckets": MAX_BUCKETS},
        is_smoothed=any(curve.trend for curve in curves),
        config_name=run.config.name,
        config=store.read_bytes(run.config).decode("utf-8", "replace") if run.is_training else "",
        cards=[
            (row.results.label, {part: getattr(row.results.card, part) for part in PARTS})
            for board in boards
            for row in board.rows
        ],
    )
    return store.write_text(run.report, page)


def _pictures(boards: Sequence[Leaderboard]) -> dict[str, Any] | None:
    """Before and after from the first suite that has both; the best trained row is the "after"."""
    for board in boards:
        trained = [row.results for row in board.rows if not row.is_base]
        if board.baseline is not None and trained:
            both = BeforeAfter(board.baseline, trained[0], board.headline)
            return {
                "suite": board.suite,
                "headline": board.headline,
                "better": BETTER.get(board.columns[0].direction, "it only describes"),
                "before": board.baseline.label,
                "after": trained[0].label,
                "moves": both.moves(),
                "first": both.first_of_each_tag(PROMPTS_PER_TAG),
                "mended": both.mended(CHANGED_PICTURES),
                "broken": both.broken(CHANGED_PICTURES),
            }
    return None
