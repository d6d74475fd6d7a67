"""Finished evaluations by several scorers, in the form in which suites leave them: a value each per picture."""

from __future__ import annotations

from pathlib import Path

from flowbench import store
from flowbench.evals import evaluation
from flowbench.evals.evaluation import EvaluationCard, MetricSummary, Record, ScorerStatus, Summary

PROMPTS, PICTURES = 25, 2


def write_suite(folder: Path, scores, *, label="model", adapter="none", weights=None, not_run=None, **changes):
    """`scores`: name -> function of (prompt number, index), None for unscored. The first one is the headline.

    `weights`: name -> another hash than "old"; `not_run`: name -> reason; `changes` go to the declared settings.
    """
    first = next(iter(scores))
    records = []
    for number in range(PROMPTS):
        for index in range(PICTURES):
            values = {name: score(number, index) for name, score in scores.items()}
            values = {name: None if value is None else float(value) for name, value in values.items()}
            asked = (f"p{number}", index, index, None, f"prompt {number}", f"images/p{number}-{index}.png")
            records.append(Record(*asked, value=values[first], parts=values, note=""))
    identities = {name: {"reward": name, "weights": [(weights or {}).get(name, "old")]} for name in scores}
    card = EvaluationCard(
        subject={"model": "painter", "source": "painter", "adapter": adapter},
        must_agree={"suite": "several", "prompts": "abc", "num_prompts": PROMPTS, "images_per_prompt": PICTURES,
                    "seed": 0, "resolution": 8, "scorers": identities},
        declared={"steps": 20, "guidance": 1.0, **changes},
        noted={"dtype": "torch.float32", "interval": "wilson"},
    )  # fmt: skip
    intervals = {name: evaluation.metric_intervals(records, name) for name in scores}
    summary = Summary(
        suite="several",
        label=label,
        model="painter",
        headline=first,
        also_show=tuple(scores)[1:],
        overall="tags",
        unseen=(),
        prompts=PROMPTS,
        images=len(records),
        scorers=(
            *(ScorerStatus(name, "scored", "", "picture", 0, {}) for name in scores),
            *(ScorerStatus(name, "not run", reason, "picture", 0, {}) for name, reason in (not_run or {}).items()),
        ),
        metrics={
            name: MetricSummary(*found, name, f"unit of {name}", "higher", "picture")
            for name, found in intervals.items()
        },
        card=card,
    )
    evaluation.write_evaluation(folder, summary, records)
    return folder


def describe(folder: Path, facts) -> None:
    """Give metrics another unit, direction and level."""
    change(folder, lambda summary: [
        summary["metrics"][name].update(unit=unit, direction=direction, level=level)
        for name, (unit, direction, level) in facts.items()
    ])  # fmt: skip


def change(folder: Path, edit) -> None:
    """Let `edit` change what stands in summary.json, as if it had been written so."""
    summary = store.read_sealed(folder / "summary.json")
    edit(summary)
    store.write_sealed(folder / "summary.json", summary)
