"""Finished evaluations with given verdicts, written by the same functions that the runner uses."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from flowbench.evals import evaluation
from flowbench.evals.evaluation import EvaluationCard, MetricSummary, Record, ScorerStatus, Summary
from flowbench.types import Prompt, Sample, Score

TAGS = ("single_object", "two_object", "counting")


def write_evaluation(folder: Path, verdict, *, label="model", prompts_per_tag=10, images=2, adapter="none", **changes):
    """`verdict(tag, number, index)` -> 1, 0 or None (unscored), or a pair (official, value). `changes` go to the card,
    e.g. guidance=3.0; `method`: of the intervals."""
    records = []
    for tag in TAGS:
        for number in range(prompts_per_tag):
            for index in range(images):
                prompt = Prompt(f"{tag}-{number}", f"<b>{tag}</b> {number}", tag)
                value = verdict(tag, number, index)
                value, score_value = value if isinstance(value, tuple) else (value, (value or 0) / 2)
                color = (40, 160, 60) if value else (170, 50, 40)
                sample = Sample(prompt, Image.new("RGB", (8, 8), color), seed=number * 10 + index)
                score = Score.unscored("no answer") if value is None else Score(score_value, {"official": float(value)})
                name = f"images/{prompt.id}-{index}.png"
                (folder / "images").mkdir(parents=True, exist_ok=True)
                sample.image.save(folder / name)
                records.append(Record.of(prompt, score, index=index, seed=sample.seed, image=name))
    method = changes.pop("method", "percentile")
    card = _card(adapter, prompts_per_tag, images, {**changes, "interval": method})
    suite = card.must_agree["suite"]
    reasons = evaluation.unscored_reasons(records)
    intervals = {name: evaluation.metric_intervals(records, name, method=method) for name in ("official", "value")}
    summary = Summary(
        suite=suite,
        label=label,
        model=card.subject["model"],
        headline="official",
        also_show=("value",),
        overall="tags",
        unseen=("single_object",),
        prompts=prompts_per_tag * len(TAGS),
        images=len(records),
        scorers=(ScorerStatus(suite, "scored", "", "picture", sum(reasons.values()), reasons),),
        metrics={name: MetricSummary(*found, suite, "", "higher", "picture") for name, found in intervals.items()},
        card=card,
    )
    evaluation.write_evaluation(folder, summary, records)
    return folder


def _card(adapter, prompts_per_tag, images, changes):
    card = {
        "subject": {"model": "painter", "source": "painter", "adapter": adapter},
        "must_agree": {
            "suite": "painting",
            "prompts": "abc",
            "num_prompts": prompts_per_tag * len(TAGS),
            "images_per_prompt": images,
            "seed": 0,
            "resolution": 8,
            "scorers": {},
        },
        "declared": {"steps": 20, "guidance": 1.0},
        "noted": {"device": "cpu", "dtype": "torch.float32", "interval": "percentile"},
    }
    for name, value in changes.items():
        part = next(part for part in card.values() if name in part)
        part[name] = value
    card["must_agree"]["scorers"] = {card["must_agree"]["suite"]: {"reward": card["must_agree"]["suite"]}}
    return EvaluationCard(**card)
