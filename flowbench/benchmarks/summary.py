"""The last stage of an evaluation: one line per picture from all scorers, and the numbers with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowbench.benchmarks.existing import NO_PICTURE, ExistingPicture
from flowbench.benchmarks.records import ALL
from flowbench.benchmarks.scorers import Scorer
from flowbench.benchmarks.suite import Suite
from flowbench.errors import ConfigError, FlowbenchError
from flowbench.evals.evaluation import (
    EvaluationCard,
    Key,
    MetricSummary,
    Record,
    ScorerStatus,
    Summary,
    metric_intervals,
    unscored_reasons,
)


@dataclass(frozen=True)
class ScorerRun:
    """What became of one scorer."""

    scorer: Scorer
    """Who scores."""
    identity: Mapping[str, Any]
    """What decides its numbers; {} when it cannot run."""
    records: Mapping[Key, Record]
    """Its records by prompt id and index."""
    reason: str = ""
    """Why it did not run."""
    kept: str = ""
    """Why it could not run today, though its scores of an earlier call are here."""
    error: FlowbenchError | None = None
    """What was raised when it could not run."""

    @property
    def ran(self) -> bool:
        """Whether there are scores of it."""
        return not self.reason

    def of(self, picture: ExistingPicture) -> Record | None:
        """Its record of a picture; of those that it judges together (a prompt's), it stands with the first one. None
        where there is none."""
        if not self.ran or (self.scorer.level == "prompt" and picture.index > 0):
            return None
        return self.records.get(picture.key)

    def status(self, planned: Sequence[ExistingPicture]) -> ScorerStatus:
        """What a summary says of it. A picture that was never there counts as unscored."""
        name, level = self.scorer.name, self.scorer.level
        if not self.ran:
            return ScorerStatus(name, "not run", self.reason, level, 0, {})
        wanted = [each.key for each in planned if level == "picture" or each.index == 0]
        own = [self.records.get(key) for key in ([(ALL, 0)] if level == "set" else wanted)]
        reasons = unscored_reasons(record for record in own if record is not None)
        if None in own:
            reasons[NO_PICTURE] = own.count(None)
        reasons = dict(sorted(reasons.items()))
        return ScorerStatus(name, "scored", self.kept, level, sum(reasons.values()), reasons)


def merge(planned: Sequence[ExistingPicture], runs: Sequence[ScorerRun]) -> list[Record]:
    """One record per picture, in the order of the plan.

    The first scorer's value, note and details are the record's, and its parts keep their names; the values of all
    scorers stand in `parts` under their names, the others' parts as "<scorer>/<part>".
    """
    merged = []
    for each in planned:
        found = {run.scorer.name: run.of(each) for run in runs}
        first = next(iter(found.values()), None)
        parts: dict[str, float | None] = {}
        for place, (name, record) in enumerate(found.items()):
            if record is not None and record.is_scored:
                parts |= {part if place == 0 else f"{name}/{part}": value for part, value in record.parts.items()}
            parts[name] = record.value if record is not None else None
        several = {name: record for name, record in found.items() if record is not None} if len(found) > 1 else {}
        merged.append(
            Record(
                prompt_id=each.prompt.id,
                index=each.index,
                seed=each.seed,
                tag=each.prompt.tag,
                prompt=each.prompt.text,
                image=each.name,
                value=first.value if first else None,
                parts=parts,
                note=first.note if first else _why_not(runs, each),
                details=first.details if first else {},
                notes={name: record.note for name, record in several.items() if record.note},
                details_by={name: record.details for name, record in several.items() if record.details},
            )
        )
    return merged


def _why_not(runs: Sequence[ScorerRun], picture: ExistingPicture) -> str:
    """Why the first scorer has no record of a picture; "" where its number is of the prompt, or of all pictures."""
    if not runs:
        return "nothing has scored it"
    if not runs[0].ran:
        return f"{runs[0].scorer.name} did not run: {runs[0].reason}"
    level = runs[0].scorer.level
    return "" if level == "set" or (level == "prompt" and picture.index > 0) else NO_PICTURE


def measured_metrics(suite: Suite, records: Sequence[Record], runs: Sequence[ScorerRun]) -> list[str]:
    """The suite's metrics and, where it asks for every part, all others that the records hold.

    Raises ConfigError for one that its scorer does not give.
    """
    held = dict.fromkeys(name for record in records for name in record.parts)
    for run in runs:
        if run.scorer.level == "set":  # no picture's record holds what is of all of them
            prefix = "" if run is runs[0] else f"{run.scorer.name}/"
            parts = (part for record in run.records.values() for part in record.parts)
            held |= dict.fromkeys([run.scorer.name, *(f"{prefix}{part}" for part in parts)])
    for metric in suite.metrics:
        scorer = next(run for run in runs if run.scorer.name == suite.scorer_of(metric))
        if metric not in held and metric != "value" and any(record.is_scored for record in scorer.records.values()):
            known = ", ".join(sorted({*held, "value"}))
            raise ConfigError(f"no record holds the metric '{metric}'. Known: {known}.")
    return list(dict.fromkeys([*suite.metrics, *(sorted(held) if suite.every_part else ())]))


def build_summary(
    suite: Suite,
    planned: Sequence[ExistingPicture],
    records: Sequence[Record],
    runs: Sequence[ScorerRun],
    *,
    label: str,
    card: EvaluationCard,
) -> Summary:
    """The numbers with their intervals, the counts, and the card they hold for.

    The suite's headline stays the headline, also where its scorer could not run: then it is a dash."""
    return Summary(
        suite=suite.name,
        label=label,
        model=str(card.subject["model"]),
        headline=suite.headline,
        also_show=suite.also_show,
        overall=suite.overall,
        unseen=suite.unseen,
        prompts=len({record.prompt_id for record in records}),
        images=len(records),
        scorers=tuple(run.status(planned) for run in runs),
        metrics={metric: _metric(suite, metric, records, runs) for metric in measured_metrics(suite, records, runs)},
        card=card,
    )


def _metric(suite: Suite, metric: str, records: Sequence[Record], runs: Sequence[ScorerRun]) -> MetricSummary:
    """A metric's intervals, and what a reader must know of it: whose it is, its unit and direction."""
    run = next(run for run in runs if run.scorer.name == suite.scorer_of(metric))
    name, level, card = run.scorer.name, run.scorer.level, run.scorer.card
    is_value = metric in (name, "value")
    part = metric.removeprefix(f"{name}/")
    if level == "set":
        alone = "value" if is_value else part
        overall, tags = metric_intervals(list(run.records.values()), alone, method=suite.interval)
    else:
        rows = [record for record in records if level == "picture" or record.index == 0]
        overall, tags = metric_intervals(rows, metric, overall=suite.overall, method=suite.interval)
    facts = card if is_value else run.scorer.part(part)
    return MetricSummary(overall, tags, name, facts.unit, facts.direction, level)
