"""The last stage of an evaluation: one line per picture from all scorers, and the numbers with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowbench.benchmarks.plan import Item
from flowbench.benchmarks.scorers import Scorer
from flowbench.benchmarks.suite import Suite
from flowbench.errors import ConfigError, FlowbenchError
from flowbench.evals.score import Record, is_scored, summarise, unscored_reasons

NO_PICTURE = "there is no picture of it"


@dataclass(frozen=True)
class ScorerRun:
    """What became of one scorer: its records by (prompt id, index), or the `reason` why it did not run.

    `kept`: why it could not run today, though its scores of an earlier call are here.
    """

    scorer: Scorer
    identity: Mapping[str, Any]
    records: Mapping[tuple[str, int], Record]
    reason: str = ""
    kept: str = ""
    error: FlowbenchError | None = None

    @property
    def ran(self) -> bool:
        """Whether there are scores of it."""
        return not self.reason

    def of(self, item: Item) -> Record | None:
        """Its record of a picture; None for the pictures of a prompt of which it judges all together but the first."""
        if not self.ran or (self.scorer.level == "prompt" and item.index > 0):
            return None
        return self.records.get(item.key)


def merge(items: Sequence[Item], scored: Sequence[ScorerRun], suite: Suite) -> list[Record]:
    """One record per picture, in the order of the plan.

    The first scorer's value, note and details are the record's, and its parts keep their names; the values of all
    scorers stand in `parts` under their names, the others' parts as "<scorer>/<part>". Every metric of the suite is
    there, None where nobody scored it. Raises ConfigError for one that its scorer does not give.
    """
    records = [_merged(item, scored) for item in items]
    held = {name for record in records for name in record["parts"]}
    for metric in suite.metrics:
        if metric not in held and metric != "value":
            scorer = next(each for each in scored if each.scorer.name == suite.scorer_of(metric))
            if any(map(is_scored, scorer.records.values())):
                known = ", ".join(sorted(held | {"value"}))
                raise ConfigError(f"no record holds the metric '{metric}'. Known: {known}.")
            for record in records:
                record["parts"][metric] = None
    return records


def build_summary(
    suite: Suite, records: Sequence[Record], scored: Sequence[ScorerRun], *, label: str, card: Mapping[str, Any]
) -> dict[str, Any]:
    """What stands in summary.json: the numbers with their intervals, the counts, and the card they hold for.

    The suite's headline stays the headline, also where its scorer could not run: then it is a dash."""
    status = {each.scorer.name: _status(each, records) for each in scored}
    headline = status.get(suite.scorer_of(suite.headline), {"unscored": 0, "unscored_reasons": {}})
    return {
        "suite": suite.name,
        "label": label,
        "model": card["subject"]["model"],
        "headline": suite.headline,
        "also_show": list(suite.also_show),
        "overall": suite.overall,
        "unseen": list(suite.unseen),
        "prompts": len({record["prompt_id"] for record in records}),
        "images": len(records),
        "unscored": headline["unscored"],
        "unscored_reasons": headline["unscored_reasons"],
        "scorers": status,
        "metrics": {metric: _metric(suite, metric, records, scored) for metric in suite.metrics},
        "card": card,
    }


def _merged(item: Item, scored: Sequence[ScorerRun]) -> Record:
    found = {each.scorer.name: each.of(item) for each in scored}
    first = next(iter(found.values()), None)
    record: Record = {
        "prompt_id": item.prompt.id,
        "index": item.index,
        "seed": item.seed,
        "tag": item.prompt.tag,
        "prompt": item.prompt.text,
        "image": f"images/{item.picture}",
        "value": first["value"] if first else None,
        "parts": _parts(found),
        "note": first["note"] if first else _why_not(scored),
    }
    if first and first.get("details"):
        record["details"] = first["details"]
    if len(scored) > 1:
        record["notes"] = {name: each["note"] for name, each in found.items() if each and each["note"]}
        record["details_by"] = {name: each["details"] for name, each in found.items() if each and each.get("details")}
    return record


def _parts(found: Mapping[str, Record | None]) -> dict[str, float | None]:
    parts: dict[str, float | None] = {}
    for place, (name, record) in enumerate(found.items()):
        if record is None or not is_scored(record):
            parts[name] = None
            continue
        parts |= {part if place == 0 else f"{name}/{part}": value for part, value in record["parts"].items()}
        parts[name] = record["value"]
    return parts


def _why_not(scored: Sequence[ScorerRun]) -> str:
    """Why the first scorer has no record of a picture."""
    if not scored:
        return "nothing has scored it"
    return f"{scored[0].scorer.name} did not run: {scored[0].reason}" if scored[0].reason else NO_PICTURE


def _status(scored: ScorerRun, records: Sequence[Record]) -> dict[str, Any]:
    """What summary.json says of one scorer. A picture that was never there counts as unscored."""
    level = scored.scorer.level
    if not scored.ran:
        return {"status": "not run", "reason": scored.reason, "unscored": 0, "unscored_reasons": {}, "level": level}
    wanted = [record for record in records if level == "picture" or record["index"] == 0]
    own = [scored.records.get((record["prompt_id"], record["index"])) for record in wanted]
    reasons = unscored_reasons([record for record in own if record is not None])
    if None in own:
        reasons[NO_PICTURE] = own.count(None)
    return {
        "status": "scored",
        "reason": scored.kept,
        "unscored": sum(reasons.values()),
        "unscored_reasons": dict(sorted(reasons.items())),
        "level": level,
    }


def _metric(suite: Suite, metric: str, records: Sequence[Record], scored: Sequence[ScorerRun]) -> dict[str, Any]:
    """A metric's intervals, and what a reader must know of it: whose it is, its unit and direction."""
    name = suite.scorer_of(metric)
    scorer = next(each.scorer for each in scored if each.scorer.name == name)
    card = scorer.card if metric in (name, "value") else None
    rows = [record for record in records if scorer.level == "picture" or record["index"] == 0]
    return {
        **summarise(rows, [metric], over=suite.overall)[metric],
        "scorer": name,
        "unit": card.unit if card else "",
        "direction": _direction(metric, card.direction if card else "higher"),
        "level": scorer.level,
    }


def _direction(metric: str, direction: str) -> str:
    """Parts have no card; of those of the built-in rewards only GenEval's count of extra objects is better when low."""
    return "lower" if metric.rpartition("/")[2] == "extras" else direction
