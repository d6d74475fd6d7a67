"""Finished evaluations: find and load them, and compare two on the same prompts and seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowbench import store
from flowbench.errors import CardMismatch, MissingFile, RunError
from flowbench.evals.compare import Paired, paired_test
from flowbench.evals.score import Record, metric_values, tags_of


@dataclass(frozen=True)
class Results:
    """One finished evaluation. `summary` and `card` are summary.json and its card; one record per picture."""

    folder: Path
    label: str
    card: dict[str, dict[str, Any]]
    summary: dict[str, Any]
    records: list[Record]

    @property
    def headline(self) -> str:
        return str(self.summary["headline"])

    @property
    def tags(self) -> tuple[str, ...]:
        """In the order of the prompt set (a JSON file keeps none); () when the prompts have no tags."""
        return tuple(dict.fromkeys(tags_of(self.records) or ()))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The headline, then those shown beside it, then the others by name."""
        first = (self.headline, *self.summary["also_show"])
        return tuple(dict.fromkeys([*first, *sorted(self.summary["metrics"])]))

    def mean(self, metric: str, tag: str | None = None) -> float:
        """The metric's mean, overall or of one tag; NaN when nothing was scored."""
        return _float(self.interval(metric, tag).get("mean"))

    def interval(self, metric: str, tag: str | None = None) -> dict[str, Any]:
        """The metric's interval from the summary: mean, low, high (None for NaN), count, unscored; {} if not there."""
        entry = self.summary["metrics"].get(metric, {"overall": {}, "tags": {}})
        found: dict[str, Any] = entry["overall"] if tag is None else entry["tags"].get(tag, {})
        return found


@dataclass(frozen=True)
class Comparison:
    """One line of a comparison: a metric overall (`tag` None) or on one tag."""

    metric: str
    tag: str | None
    candidate: float
    baseline: float
    paired: Paired


def load_results(folder: str | Path) -> Results:
    """A finished evaluation from its folder. Raises MissingFile when there is none or it is not finished."""
    folder = Path(folder)
    if not (folder / "summary.json").is_file():
        raise MissingFile(
            f"{folder}: no finished evaluation is here. Run `flowbench eval` again: it goes on from there."
        )
    summary = store.read_json(folder / "summary.json")
    records = {_key(record): record for record in store.read_jsonl(folder / "records.jsonl")}
    if len(records) != summary["images"]:
        raise RunError(
            f"{folder}: summary.json speaks of {summary['images']} pictures, records.jsonl holds {len(records)}. "
            "Run the evaluation again: it mends what is missing."
        )
    return Results(folder, summary["label"], summary["card"], summary, list(records.values()))


def find_results(folder: str | Path, suite: str | None = None) -> list[Results]:
    """The finished evaluations in an evaluation folder, or in the `eval/` of a run folder; the oldest first.

    `suite` keeps those of one suite. Raises MissingFile when none is left.
    """
    folder = Path(folder)
    places = [folder / "summary.json", *folder.glob("eval/*/summary.json")]
    found = sorted((place for place in places if place.is_file()), key=lambda place: (place.stat().st_mtime, place))
    results = [load_results(place.parent) for place in found]
    kept = [result for result in results if suite in (None, result.summary["suite"])]
    if not kept:
        wanted = f" of suite '{suite}'" if suite else ""
        raise MissingFile(f"{folder}: no finished evaluation{wanted} is here. Make one with `flowbench eval`.")
    return kept


def check_comparable(a: Results, b: Results, *, allow_mismatch: bool = False) -> list[str]:
    """The declared settings in which two evaluations differ, as "guidance: 1.0 and 3.0".

    Raises CardMismatch, naming the field, when one that must agree differs, or a declared one without `allow_mismatch`.
    The subject (model and adapter) is what is compared; it may always differ.
    """
    where = f"'{a.label}' and '{b.label}' cannot be compared"
    forbidden = _differences(a.card["must_agree"], b.card["must_agree"])
    if forbidden:
        raise CardMismatch(f"{where}: they differ in {forbidden[0]}. Evaluate both under the same settings.")
    declared = _differences(a.card["declared"], b.card["declared"])
    if declared and not allow_mismatch:
        raise CardMismatch(
            f"{where}: they differ in {'; '.join(declared)}. "
            "Evaluate both alike, or pass --allow-mismatch to compare them all the same."
        )
    return declared


def compare_results(
    candidate: Results,
    baseline: Results,
    metric: str | None = None,
    *,
    tag: str | None = None,
    allow_mismatch: bool = False,
) -> Paired:
    """Candidate minus baseline, paired by prompt and seed; the headline metric unless another is named.

    With tags: the unweighted mean of the tags' means, unless one `tag` is named. Raises CardMismatch as
    `check_comparable` does, and when the two do not hold the same pictures.
    """
    check_comparable(candidate, baseline, allow_mismatch=allow_mismatch)
    metric = metric or candidate.headline
    ours, theirs = _aligned(candidate, baseline, tag)
    return paired_test(
        metric_values(ours, metric),
        metric_values(theirs, metric),
        [record["prompt_id"] for record in ours],
        None if tag is not None else tags_of(ours),
    )


def compare_all(
    candidate: Results, baseline: Results, metrics: Sequence[str] | None = None, *, allow_mismatch: bool = False
) -> list[Comparison]:
    """For each metric (all of them unless named): a line overall and a line per tag."""
    lines = []
    for metric in metrics or candidate.metrics:
        for tag in (None, *candidate.tags):
            paired = compare_results(candidate, baseline, metric, tag=tag, allow_mismatch=allow_mismatch)
            lines.append(Comparison(metric, tag, candidate.mean(metric, tag), baseline.mean(metric, tag), paired))
    return lines


def _aligned(a: Results, b: Results, tag: str | None) -> tuple[list[Record], list[Record]]:
    """The two evaluations' records in one order."""
    others = {_key(record): record for record in b.records}
    if {_key(record) for record in a.records} != set(others):
        raise CardMismatch(f"'{a.label}' and '{b.label}' do not hold the same pictures. Evaluate both to the end.")
    ours = [record for record in a.records if tag is None or record["tag"] == tag]
    return ours, [others[_key(record)] for record in ours]


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {a.get(name)} and {b.get(name)}" for name in sorted({*a, *b}) if a.get(name) != b.get(name)]


def _key(record: Record) -> tuple[str, int]:
    return record["prompt_id"], record["index"]


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)
