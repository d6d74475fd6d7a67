"""Finished evaluations by several scorers, in the form in which suites leave them: a value each per picture."""

from __future__ import annotations

from pathlib import Path

from flowbench import store
from flowbench.evals.score import summarise

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
            records.append({
                "prompt_id": f"p{number}", "index": index, "seed": index, "tag": None, "prompt": f"prompt {number}",
                "image": f"images/p{number}-{index}.png", "value": values[first], "parts": values, "note": "",
            })  # fmt: skip
    identities = {name: {"reward": name, "weights": [(weights or {}).get(name, "old")]} for name in scores}
    card = {
        "subject": {"model": "painter", "source": "painter", "adapter": adapter},
        "must_agree": {"suite": "several", "prompts": "abc", "num_prompts": PROMPTS, "images_per_prompt": PICTURES,
                       "scorers": identities},
        "declared": {"steps": 20, "guidance": 1.0, **changes},
        "noted": {},
    }  # fmt: skip
    scored = {"status": "scored", "reason": "", "unscored": 0, "unscored_reasons": {}, "level": "picture"}
    missing = {name: scored | {"status": "not run", "reason": reason} for name, reason in (not_run or {}).items()}
    facts = {
        name: {"scorer": name, "unit": f"unit of {name}", "direction": "higher", "level": "picture"} for name in scores
    }
    store.write_text(folder / "records.jsonl", "".join(store.to_json(record) + "\n" for record in records))
    store.write_json(folder / "summary.json", {
        "suite": "several", "label": label, "model": "painter", "headline": first, "also_show": list(scores)[1:],
        "unseen": [], "prompts": PROMPTS, "images": len(records), "unscored": 0, "unscored_reasons": {},
        "scorers": {name: scored for name in scores} | missing,
        "metrics": {name: entry | facts[name] for name, entry in summarise(records, list(scores)).items()},
        "card": card,
    })  # fmt: skip
    return folder


def describe(folder: Path, facts) -> None:
    """Give metrics another unit, direction and level."""
    summary = store.read_json(folder / "summary.json")
    for name, (unit, direction, level) in facts.items():
        summary["metrics"][name] |= {"unit": unit, "direction": direction, "level": level}
    store.write_json(folder / "summary.json", summary)
