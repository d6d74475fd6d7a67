"""What two numbers must have in common before they stand side by side: scorer, unit, direction, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flowbench.errors import CardMismatch
from flowbench.evals.evaluation import metric_values, tags_of
from flowbench.evals.results import Results
from flowbench.stats.paired import Direction


@dataclass(frozen=True)
class Facts:
    """What a column of numbers is of."""

    metric: str
    """Its name."""
    scorer: str
    """The reward or metric that gives it."""
    unit: str = ""
    """"" where nobody says it."""
    direction: str = "none"
    """"higher", "lower" or "none" (neither end is better: it only describes)."""
    level: str = "picture"
    """What one value is of: a "picture", a "prompt", or the "set" of all pictures."""

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
    """What is known of a metric that was measured."""
    entry = results.summary.metrics[metric]
    return Facts(metric, entry.scorer, entry.unit, entry.direction, entry.level)


def other_scorer(a: Results, b: Results, metric: str) -> str:
    """In what the scorers of a metric that both have differ, as "weights: x and y"; "" when they agree."""
    ours, theirs = (each.card.scorers.get(each.summary.metrics[metric].scorer, {}) for each in (a, b))
    differing = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
    return "; ".join(f"{key}: {_short(ours.get(key))} and {_short(theirs.get(key))}" for key in differing)


def aligned(evaluations: Sequence[Results], metric: str, tag: str | None = None) -> Columns:
    """The metric's values of all evaluations, paired by prompt and picture index; of one tag, if it is named.

    Raises CardMismatch when they do not hold the same pictures.
    """
    first = evaluations[0]
    by_prompt = facts_of(first, metric).level == "prompt"
    chosen = {record.key: record for record in first.records if not (by_prompt and record.index)}
    rows = [record for record in chosen.values() if tag is None or record.tag == tag]
    columns = []
    for each in evaluations:
        held = {record.key: record for record in each.records if not (by_prompt and record.index)}
        if held.keys() != chosen.keys():
            raise CardMismatch(
                f"'{first.label}' and '{each.label}' do not hold the same pictures. Evaluate both to the end."
            )
        columns.append(metric_values([held[record.key] for record in rows], metric))
    tags = tags_of(rows) if tag is None and first.is_mean_of_tags else None
    return Columns(tuple(columns), [record.prompt_id for record in rows], tags)


def _short(value: Any) -> str:
    text = "none" if value in (None, "", [], {}) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
