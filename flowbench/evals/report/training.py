"""The report of a training run: headline table, pictures before and after, curves, settings, on one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowbench import __version__, store
from flowbench.errors import MissingFile
from flowbench.evals.leaderboard import Leaderboard, build_leaderboard
from flowbench.evals.report.curves import grouped, read_curves, short, to_svg
from flowbench.evals.report.pictures import BeforeAfter
from flowbench.evals.results import Results, find_results
from flowbench.evals.tables import leaderboard_table

PROMPTS_PER_TAG = 3
CHANGED_PICTURES = 6


def training_report(run_folder: str | Path, *, evaluations: Sequence[str | Path] = ()) -> Path:
    """Write `<run_folder>/report.html` and return its path.

    `evaluations` are evaluation folders, or run folders whose evaluations all count. Those of a model without an
    adapter are the base rows; gains are measured against the better of them, and it is the "before" of the pictures.
    What is not there (no log yet, no evaluation) is left out. Raises MissingFile when the run folder is not there.
    """
    run_folder = Path(run_folder)
    if not run_folder.is_dir():
        raise MissingFile(f"{run_folder}: there is no such run folder. Check the path.")
    boards = _boards(evaluations)
    groups = grouped(read_curves(store.read_jsonl(run_folder / "log.jsonl")))
    page = (
        _environment()
        .get_template("training.html.j2")
        .render(
            title=run_folder.resolve().name,
            version=__version__,
            boards=[(board, leaderboard_table(board)) for board in boards],
            pictures=_pictures(boards),
            groups=groups,
            num_steps=max((curve.points[-1][0] for curves in groups.values() for curve in curves), default=None),
            config=_text(run_folder / "config.yaml"),
            cards=[(row.results.label, row.results.card) for board in boards for row in board.rows],
        )
    )
    return store.write_text(run_folder / "report.html", page)


def _environment() -> Any:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = short
    environment.filters["svg"] = lambda curve: Markup(to_svg(curve))  # numbers only: nothing in it is anyone's text
    return environment


def _boards(evaluations: Sequence[str | Path]) -> list[Leaderboard]:
    """One leaderboard per suite and settings that must agree (a limited evaluation stands apart from a whole one), in
    the order in which they are met."""
    found = {results.folder.resolve(): results for folder in evaluations for results in find_results(folder)}
    suites: dict[str, list[Results]] = {}
    for results in found.values():
        suites.setdefault(store.digest(results.card["must_agree"]), []).append(results)
    return [
        build_leaderboard([each for each in group if not _is_base(each)], [each for each in group if _is_base(each)])
        for group in suites.values()
    ]


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


def _is_base(results: Results) -> bool:
    return bool(results.card["subject"]["adapter"] == "none")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
