"""GenEval's own results file, so that its published summary script and other people's tools can read our verdicts.

Source: djghosh13/geneval at af4902f, evaluation/evaluate_images.py: a JSON object a picture with filename, tag, prompt,
correct, reason, and metadata and details as JSON texts; details are the boxes (x0, y0, x1, y1, score) of what counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowbench import store
from flowbench.benchmarks.existing import ExistingPicture
from flowbench.evals.score import Record, is_scored
from flowbench.rewards.geneval.rule import CONFIDENCE, COUNTING_CONFIDENCE, MAX_PER_CLASS

FILE = "results.jsonl"


def write(folder: Path, given: Sequence[ExistingPicture], records: Sequence[Record]) -> Path | None:
    """Write results.jsonl beside the records of a GenEval reward; None for records that hold no objects."""
    lines = [
        store.to_json(_line(each, record))
        for each, record in zip(given, records, strict=True)
        if is_scored(record) and "objects" in record.get("details", {})
    ]
    if not lines:
        return None
    return store.write_text(folder / FILE, "".join(f"{line}\n" for line in lines))


def _line(given: ExistingPicture, record: Record) -> dict[str, Any]:
    correct = record["parts"]["official"] == 1
    return {
        "filename": str(given.path),
        "tag": record["tag"],
        "prompt": record["prompt"],
        "correct": correct,
        "reason": "" if correct else record["note"],
        "metadata": json.dumps(given.prompt.metadata),
        "details": json.dumps(_counted(record)),
    }


def _counted(record: Record) -> dict[str, list[list[float]]]:
    threshold = COUNTING_CONFIDENCE if record["tag"] == "counting" else CONFIDENCE
    confident = {
        label: [box for box in boxes if box[4] > threshold][:MAX_PER_CLASS]
        for label, boxes in record["details"]["objects"].items()
    }
    return {label: boxes for label, boxes in confident.items() if boxes}
