"""Finished evaluations with given verdicts, written by the same functions that the runner uses."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from flowbench import store
from flowbench.evals.score import summarise, to_record, unscored_reasons
from flowbench.types import Prompt, Sample, Score

TAGS = ("single_object", "two_object", "counting")


def write_evaluation(folder: Path, verdict, *, label="model", prompts_per_tag=10, images=2, adapter="none", **changes):
    """`verdict(tag, number, index)` -> 1, 0 or None (unscored). `changes` go to the card, e.g. guidance=3.0."""
    records = []
    for tag in TAGS:
        for number in range(prompts_per_tag):
            for index in range(images):
                prompt = Prompt(f"{tag}-{number}", f"<b>{tag}</b> {number}", tag)
                value = verdict(tag, number, index)
                color = (40, 160, 60) if value else (170, 50, 40)
                sample = Sample(prompt, Image.new("RGB", (8, 8), color), seed=number * 10 + index)
                score = Score.unscored("no answer") if value is None else Score(value / 2, {"official": float(value)})
                name = f"images/{prompt.id}-{index}.png"
                (folder / "images").mkdir(parents=True, exist_ok=True)
                sample.image.save(folder / name)
                records.append(to_record(sample, score, index=index, image=name))
    card = _card(adapter, prompts_per_tag, images, changes)
    store.write_text(folder / "records.jsonl", "".join(store.to_json(record) + "\n" for record in records))
    reasons = unscored_reasons(records)
    summary = {
        "suite": card["must_agree"]["suite"],
        "label": label,
        "model": "painter",
        "headline": "official",
        "also_show": ["value"],
        "unseen": ["single_object"],
        "prompts": prompts_per_tag * len(TAGS),
        "images": len(records),
        "unscored": sum(reasons.values()),
        "unscored_reasons": reasons,
        "metrics": summarise(records, ("official", "value")),
        "card": card,
    }
    store.write_json(folder / "summary.json", summary)
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
        },
        "declared": {"steps": 20, "guidance": 1.0},
        "noted": {"device": "cpu"},
    }
    for name, value in changes.items():
        part = next(part for part in card.values() if name in part)
        part[name] = value
    return card
