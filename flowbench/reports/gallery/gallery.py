"""The gallery: every picture of an evaluation, or of two side by side, on one HTML page that opens by double click.

Thumbnails are part of the page; the whole pictures lie beside it, and the page shows them where they are.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

from flowbench import store
from flowbench.evals.evaluation import PARTS
from flowbench.evals.results import Results, load_results
from flowbench.evals.versus import compare_evaluations
from flowbench.layout import EvaluationFolder
from flowbench.reports.gallery import figures
from flowbench.reports.gallery.payload import payload
from flowbench.reports.gallery.sheet import Sheet, moves, paired_sheet, reasons, sheet_of
from flowbench.reports.pages.page import render, script_json
from flowbench.reports.reproduce import commands
from flowbench.reports.tables.cells import DASH, bounded, number, p_value, signed
from flowbench.reports.tables.footnotes import brackets, kind_of_interval, kind_of_mean
from flowbench.version import __version__

STYLES = ("gallery/gallery.css",)
SCRIPTS = ("gallery/gallery_data.js", "gallery/gallery_list.js", "gallery/gallery_viewer.js")
MOST_REASONS = 40


def write_gallery(evaluation: str | Path | Results, *, pictures: str | Path | None = None) -> Path:
    """Write `gallery.html` into an evaluation's folder and return its path.

    `pictures`: where the paths of its records begin, when that is not the folder itself (`flowbench score` leaves the
    pictures where they are). A picture that is not there is a blank on the page. Raises what `load_results` raises.
    """
    results = evaluation if isinstance(evaluation, Results) else load_results(evaluation)
    page = EvaluationFolder(results.folder).gallery
    return store.write_text(page, _page(sheet_of(results), page, [Path(pictures or results.folder)]))


def write_comparison(
    candidate: Results,
    baseline: Results,
    *,
    allow_mismatch: bool = False,
    pictures: str | Path | None = None,
    against: str | Path | None = None,
) -> Path:
    """Write `against-<baseline>.html` into the candidate's folder and return its path.

    The same prompt and seed side by side, the worst regressions first; the numbers are those of `flowbench compare`.
    `pictures` and `against` are where the paths of the candidate's and the baseline's records begin, when that is not
    their folder. Raises CardMismatch as `compare_evaluations` does.
    """
    versus = compare_evaluations(candidate, baseline, allow_mismatch=allow_mismatch)
    identity = store.digest([asdict(baseline.card), baseline.label])[:8]
    page = candidate.folder / f"against-{store.slug(baseline.label)[:60]}-{identity}.html"
    folders = [Path(against or baseline.folder), Path(pictures or candidate.folder)]
    return store.write_text(page, _page(paired_sheet(versus), page, folders))


def _page(sheet: Sheet, page: Path, folders: list[Path]) -> str:
    data, thumbnails = payload(sheet, page, folders)
    results = sheet.last
    prompts = {row[-1].prompt_id for row in sheet.rows}
    pictures = "pictures" if len(sheet.sides) == 1 else "pairs of pictures"
    return render(
        "gallery/gallery.html.j2",
        styles=STYLES,
        scripts=SCRIPTS,
        title=" against ".join(reversed(sheet.labels)),
        version=__version__,
        sheet=sheet,
        summary=results.summary,
        tiles=_tiles(sheet),
        counts=f"{len(prompts):,} prompts, {len(sheet.rows):,} {pictures}",
        mean=kind_of_mean(results) if sheet.tags else "",
        brackets=brackets(
            side.interval(facts.metric) for side in sheet.sides for facts in sheet.facts if facts.level != "set"
        ),
        difference=kind_of_interval(line.paired for line in sheet.versus.lines) if sheet.versus else "",
        rows=figures.metric_rows(sheet),
        blocks=figures.tag_blocks(sheet),
        unseen=[tag for tag in sheet.tags if tag in results.summary.unseen],
        scorers=_troubled(results),
        moves=moves(sheet, sheet.headline),
        reasons=reasons(sheet)[:MOST_REASONS],
        cards=_cards(sheet),
        commands=commands(sheet.sides),
        missing=sum(side["t"] < 0 for picture in data["pictures"] for side in picture["sides"]),
        data=script_json(data),
        thumbnails=script_json(thumbnails),
    )


def _tiles(sheet: Sheet) -> list[tuple[str, str, str]]:
    """(what, number, beside it): the first metric of each side, and what a comparison says of it."""
    if not sheet.facts:
        return []
    name, tiles = sheet.facts[0].metric, []
    for label, side in zip(sheet.labels, sheet.sides, strict=True):
        entry = side.interval(name)
        tiles.append((label if sheet.versus else name, number(entry.mean if entry else None), _bounds(bounded(entry))))
    paired = sheet.versus.lines[0].paired if sheet.versus else None
    if sheet.versus is None or paired is None or math.isnan(paired.difference):
        return tiles
    sure = ", ".join(filter(None, [_bounds(signed(paired)), f"p {p_value(paired.p)}"]))
    tiles.append((f"difference, {sheet.versus.headline}", f"{paired.difference:+.3f}", sure))
    wins = sheet.versus.wins
    if wins is not None and not math.isnan(wins.rate):
        counts = f"{wins.wins:,} won, {wins.losses:,} lost, {wins.ties:,} ties"
        tiles.append(("win rate, ties count half", number(wins.rate), counts))
    return tiles


def _bounds(text: str) -> str:
    """What stands in brackets."""
    return text.partition(" ")[2]


def _troubled(results: Results) -> list[tuple[str, str, dict[str, int]]]:
    """(scorer, why it did not run, its reasons for leaving pictures unscored) of those that have any."""
    troubled = []
    for scorer in results.summary.scorers:
        why = "" if scorer.ran else scorer.reason or "no reason given"
        if why or scorer.unscored_reasons:
            troubled.append((scorer.name, why, dict(scorer.unscored_reasons)))
    return troubled


def _cards(sheet: Sheet) -> list[tuple[str, list[tuple[str, list[str], bool]]]]:
    """(part, (field, its value on each side, whether they differ)); what is no text is written as JSON."""
    parts = []
    for part in PARTS:
        sides = [getattr(side.card, part) for side in sheet.sides]
        fields = []
        for name in dict.fromkeys(name for side in sides for name in side):
            held = [side.get(name) for side in sides]
            texts = [each if isinstance(each, str) else DASH if each is None else store.to_json(each) for each in held]
            fields.append((name, [text or "(empty)" for text in texts], len(set(texts)) > 1))
        parts.append((part, fields))
    return parts
