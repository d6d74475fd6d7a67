"""Finished evaluations: find and load them, and say whether two may be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowbench.errors import CardMismatch, ConfigError, MissingFile
from flowbench.evals.evaluation import EvaluationCard, Record, Summary, read_card, read_evaluation, tags_of
from flowbench.layout import EvaluationFolder, RunFolder
from flowbench.stats.intervals import Interval


@dataclass(frozen=True)
class Results:
    """One finished evaluation: its summary, and one record per picture."""

    folder: Path
    summary: Summary
    records: list[Record]

    @property
    def label(self) -> str:
        """Its name in tables."""
        return self.summary.label

    @property
    def card(self) -> EvaluationCard:
        """The settings that its numbers hold for."""
        return self.summary.card

    @property
    def headline(self) -> str:
        return self.summary.headline

    @property
    def tags(self) -> tuple[str, ...]:
        """In the order of the prompt set (a JSON file keeps none); () when the prompts have no tags."""
        return tuple(dict.fromkeys(tags_of(self.records) or ()))

    @property
    def is_mean_of_tags(self) -> bool:
        """Whether overall is the unweighted mean of the tags' means; else, and without tags, of all pictures."""
        return self.summary.overall == "tags"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those measured: the headline, then those shown beside it, then the others by name."""
        order = (self.headline, *self.summary.also_show, *sorted(self.summary.metrics))
        return tuple(name for name in dict.fromkeys(order) if name in self.summary.metrics)

    def mean(self, metric: str, tag: str | None = None) -> float:
        """The metric's mean, overall or of one tag; NaN when nothing was scored."""
        found = self.interval(metric, tag)
        return found.mean if found else math.nan

    def interval(self, metric: str, tag: str | None = None) -> Interval | None:
        """The metric's interval, overall or of one tag; None for a metric or a tag that is not there."""
        entry = self.summary.metrics.get(metric)
        if entry is None:
            return None
        return entry.overall if tag is None else entry.tags.get(tag)

    @property
    def not_run(self) -> dict[str, str]:
        """Scorer -> why it could not run."""
        return {each.name: each.reason for each in self.summary.scorers if not each.ran}


def load_results(folder: str | Path) -> Results:
    """A finished evaluation from its folder.

    Raises MissingFile when there is none or it is not finished, RunError for files that are damaged, of another format
    or do not belong together.
    """
    folder = Path(folder)
    if not EvaluationFolder(folder).summary.is_file():
        raise MissingFile(
            f"{folder}: no finished evaluation is here. Run `flowbench eval` again: it goes on from there."
        )
    if EvaluationFolder(folder).card.is_file():
        read_card(folder)  # which says of an edited one that it is
    return Results(folder, *read_evaluation(folder))


def find_results(folder: str | Path, suite: str | None = None) -> list[Results]:
    """The finished evaluations in an evaluation folder, or in the `eval/` of a run folder; the oldest first.

    `suite` keeps those of one suite. Raises MissingFile when none is left.
    """
    folder = Path(folder)
    places = [EvaluationFolder(folder), *RunFolder(folder).evaluations()]
    finished = []
    for place in places:
        with suppress(OSError):  # none yet, or deleted meanwhile
            finished.append((place.summary.stat().st_mtime, place.path))
    results = [load_results(path) for _, path in sorted(finished)]
    kept = [result for result in results if suite in (None, result.summary.suite)]
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


def unlike_settings(a: Results, b: Results) -> list[str]:
    """In which settings that must agree two evaluations differ, as "seed: 0 and 1"."""
    return _differences(a.card.settings, b.card.settings)


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
    declared = _differences(a.card.declared, b.card.declared)
    if declared and not allow_mismatch:
        raise CardMismatch(
            f"{where}: they differ in {'; '.join(declared)}. "
            "Evaluate both alike, or pass --allow-mismatch to compare them all the same."
        )
    return declared


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The suite first: of two suites everything else differs because of it."""
    names = sorted({*a, *b}, key=lambda name: (name != "suite", name))
    return [f"{name}: {a.get(name)} and {b.get(name)}" for name in names if a.get(name) != b.get(name)]
