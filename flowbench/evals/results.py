"""Finished evaluations: find and load them, and say whether two may be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowbench import store
from flowbench.errors import CardMismatch, ConfigError, MissingFile, RunError
from flowbench.evals.score import Record, tags_of

_SCORERS = ("scorer", "scorers")
"""Fields of a card that hold for single metrics, not for all of an evaluation."""
_SUMMARY = ("suite", "label", "headline", "also_show", "unseen", "prompts", "images", "unscored", "metrics", "card")
_CARD = ("subject", "must_agree", "declared")


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
    def is_given(self) -> bool:
        """Whether somebody else made its pictures: what made them, and with which adapter, is not known."""
        return self.card["subject"].get("model") == "pictures"

    @property
    def is_mean_of_tags(self) -> bool:
        """Whether overall is the unweighted mean of the tags' means; else, and without tags, of all pictures."""
        return self.summary.get("overall", "tags") == "tags"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The headline, then those shown beside it, then the others by name."""
        first = (self.headline, *self.summary["also_show"])
        return tuple(name for name in dict.fromkeys([*first, *sorted(self.summary["metrics"])]) if name)

    def mean(self, metric: str, tag: str | None = None) -> float:
        """The metric's mean, overall or of one tag; NaN when nothing was scored."""
        return _float(self.interval(metric, tag).get("mean"))

    def interval(self, metric: str, tag: str | None = None) -> dict[str, Any]:
        """The metric's interval from the summary: mean, low, high (None for NaN), count, unscored; {} if not there."""
        entry = self.summary["metrics"].get(metric, {"overall": {}, "tags": {}})
        found: dict[str, Any] = entry["overall"] if tag is None else entry["tags"].get(tag, {})
        return found

    @property
    def not_run(self) -> dict[str, str]:
        """Scorer -> why it could not run."""
        scorers = self.summary.get("scorers", {})
        return {name: each["reason"] for name, each in scorers.items() if each["status"] == "not run"}


def load_results(folder: str | Path) -> Results:
    """A finished evaluation from its folder.

    Raises MissingFile when there is none or it is not finished, RunError when its files do not belong together.
    """
    folder = Path(folder)
    if not (folder / "summary.json").is_file():
        raise MissingFile(
            f"{folder}: no finished evaluation is here. Run `flowbench eval` again: it goes on from there."
        )
    summary = store.read_json(folder / "summary.json")
    _check_summary(summary, folder)
    records = {_key(record): record for record in store.read_jsonl(folder / "records.jsonl")}
    if len(records) != summary["images"]:
        raise RunError(
            f"{folder}: summary.json speaks of {summary['images']} pictures, records.jsonl holds {len(records)}. "
            "Run the evaluation again: it mends what is missing."
        )
    digest = summary.get("records_sha256")  # evaluations of before it was written have none
    if digest is not None and store.file_digest(folder / "records.jsonl") != digest:
        raise RunError(
            f"{folder}: records.jsonl is not the one that summary.json speaks of. "
            "Run the evaluation again: it mends it."
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


def find_one(folder: str | Path, suite: str | None = None) -> Results:
    """The one finished evaluation in the folder. Raises ConfigError when there are several, else as `find_results`."""
    found = find_results(folder, suite)
    if len(found) > 1:
        listed = ", ".join(f"{each.folder} ({each.label})" for each in found)
        raise ConfigError(f"{folder} holds {len(found)} evaluations; name one of them: {listed}.")
    return found[0]


def settings_of(results: Results) -> dict[str, Any]:
    """What must agree for two evaluations to stand side by side: prompts, pictures, seeds. Who scored is a matter of
    each metric."""
    return {name: value for name, value in results.card["must_agree"].items() if name not in _SCORERS}


def unlike_settings(a: Results, b: Results) -> list[str]:
    """In which of them two evaluations differ, as "seed: 0 and 1"."""
    return _differences(settings_of(a), settings_of(b))


def check_comparable(a: Results, b: Results, *, allow_mismatch: bool = False) -> list[str]:
    """The declared settings in which two evaluations differ, as "guidance: 1.0 and 3.0".

    Raises CardMismatch, naming the field, when one that must agree differs, or a declared one without `allow_mismatch`.
    The subject (model and adapter) is what is compared; it may always differ. So may the scorers: they can differ for
    one metric and agree for another.
    """
    where = f"'{a.label}' and '{b.label}' cannot be compared"
    forbidden = unlike_settings(a, b)
    if forbidden:
        raise CardMismatch(f"{where}: they differ in {forbidden[0]}. Evaluate both under the same settings.")
    declared = _differences(a.card["declared"], b.card["declared"])
    if declared and not allow_mismatch:
        raise CardMismatch(
            f"{where}: they differ in {'; '.join(declared)}. "
            "Evaluate both alike, or pass --allow-mismatch to compare them all the same."
        )
    return declared


def _check_summary(summary: Any, folder: Path) -> None:
    """Raises RunError for a JSON file of something else."""
    lacking = _lacking(summary, _SUMMARY) or _lacking(summary["card"], _CARD)
    if lacking:
        raise RunError(
            f"{folder / 'summary.json'} is no evaluation's summary: {lacking}. Name another folder, or run it again."
        )


def _lacking(tree: Any, names: tuple[str, ...]) -> str:
    if not isinstance(tree, dict):
        return "it holds no mapping where one belongs"
    return next((f"'{name}' is missing" for name in names if name not in tree), "")


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The suite first: of two suites everything else differs because of it."""
    names = sorted({*a, *b}, key=lambda name: (name != "suite", name))
    return [f"{name}: {a.get(name)} and {b.get(name)}" for name in names if a.get(name) != b.get(name)]


def _key(record: Record) -> tuple[str, int]:
    return record["prompt_id"], record["index"]


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)
