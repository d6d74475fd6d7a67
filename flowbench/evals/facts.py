"""What two numbers must have in common before they stand side by side: settings, scorer, pictures.

Read from an evaluation's card and summary. Evaluations of before suites had several scorers hold one `scorer` in their
card and no unit or direction by metric; they are read too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowbench.errors import CardMismatch
from flowbench.evals.results import Results
from flowbench.evals.score import Record, metric_values, tags_of
from flowbench.stats.paired import Direction


@dataclass(frozen=True)
class Facts:
    """A metric of an evaluation. direction: "higher", "lower" or "none" (neither end is better: it only describes).

    level: what one value is of: a "picture", a "prompt", or the "set" of all pictures.
    """

    metric: str
    scorer: str
    unit: str = ""
    direction: str = "none"
    level: str = "picture"

    @property
    def is_ranked(self) -> bool:
        """Whether there is a better and a worse, and values to test by."""
        return self.direction in ("higher", "lower") and self.level != "set"

    @property
    def better(self) -> Direction:
        """The better end of a metric that is ranked."""
        return "lower" if self.direction == "lower" else "higher"


@dataclass(frozen=True)
class Columns:
    """One metric of several evaluations over the same rows, in one order: values[i][row], NaN where unscored."""

    values: tuple[list[float], ...]
    prompt_ids: list[str]
    tags: list[str] | None


def facts_of(results: Results, metric: str) -> Facts:
    """What is known of a metric."""
    entry = results.summary["metrics"].get(metric, {})
    if "direction" in entry:
        scorer, level = entry.get("scorer") or _first_scorer(results), entry.get("level", "picture")
        return Facts(metric, scorer, entry.get("unit") or "", entry["direction"] or "none", level)
    direction = results.summary.get("direction", "higher")  # of `flowbench score`, whose card speaks of its value
    level = "set" if _is_set(results) else "picture"
    if metric == "value":
        return Facts(metric, _first_scorer(results), results.summary.get("unit", ""), direction, level)
    return Facts(metric, _first_scorer(results), "", _part_direction(metric, direction), level)


def identity_of(results: Results, metric: str) -> Mapping[str, Any]:
    """Who scored a metric: name, options, version, weights; {} when the card does not say."""
    agreed = results.card["must_agree"]
    if "scorers" in agreed:
        return dict(agreed["scorers"].get(facts_of(results, metric).scorer) or {})
    return dict(agreed.get("scorer") or {})


def other_scorer(a: Results, b: Results, metric: str) -> str:
    """In what the scorers of a metric differ, as "weights: x and y"; "" when they agree."""
    ours, theirs = identity_of(a, metric), identity_of(b, metric)
    differing = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
    return "; ".join(f"{key}: {_short(ours.get(key))} and {_short(theirs.get(key))}" for key in differing)


def aligned(evaluations: Sequence[Results], metric: str, tag: str | None = None) -> Columns:
    """The metric's values of all evaluations, paired by prompt and picture index; of one tag, if it is named.

    Raises CardMismatch when they do not hold the same pictures.
    """
    first = evaluations[0]
    by_prompt = facts_of(first, metric).level == "prompt"
    chosen = {_key(record): record for record in first.records if not (by_prompt and record["index"])}
    rows = [record for record in chosen.values() if tag is None or record["tag"] == tag]
    columns = []
    for each in evaluations:
        held = {_key(record): record for record in each.records if not (by_prompt and record["index"])}
        if held.keys() != chosen.keys():
            raise CardMismatch(
                f"'{first.label}' and '{each.label}' do not hold the same pictures. Evaluate both to the end."
            )
        columns.append(_values(each, [held[_key(record)] for record in rows], metric))
    tags = tags_of(rows) if tag is None and first.is_mean_of_tags else None
    return Columns(tuple(columns), [record["prompt_id"] for record in rows], tags)


def _values(results: Results, records: list[Record], metric: str) -> list[float]:
    if metric not in results.summary["metrics"]:
        return [math.nan] * len(records)
    return metric_values(records, metric)


def _first_scorer(results: Results) -> str:
    """The scorer that gives the headline."""
    agreed = results.card["must_agree"]
    if agreed.get("scorers"):
        return str(next(iter(results.summary.get("scorers") or agreed["scorers"])))
    named = (agreed.get("scorer") or {}).get("reward", results.summary["suite"])
    return named if isinstance(named, str) else " + ".join(named)


def _is_set(results: Results) -> bool:
    """One record of all pictures, as metrics beside reference pictures leave it."""
    return len(results.records) == 1 and not results.records[0]["image"]


def _part_direction(part: str, direction: str) -> str:
    """Parts have no card. Those of a reward go up with it, but GenEval's count of objects that nobody asked for; what
    those of another metric mean is not known."""
    if direction != "higher":
        return "none"
    return "lower" if part == "extras" else "higher"


def _short(value: Any) -> str:
    text = "none" if value in (None, "", [], {}) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _key(record: Record) -> tuple[str, int]:
    return record["prompt_id"], record["index"]
