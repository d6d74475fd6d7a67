"""GenEval's own results file, so that its published summary script and other people's tools can read our verdicts.

Source: djghosh13/geneval at af4902f, evaluation/evaluate_images.py: a JSON object a picture with filename, tag, prompt,
correct, reason, and metadata and details as JSON texts; details are the boxes (x0, y0, x1, y1, score) of what counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from flowbench import store
from flowbench.benchmarks.existing import ExistingPicture
from flowbench.evals.evaluation import Key, Record
from flowbench.rewards.geneval.rule import CONFIDENCE, COUNTING_CONFIDENCE, MAX_PER_CLASS, is_above


def lines(pictures: Sequence[ExistingPicture], records: Mapping[Key, Record]) -> Iterator[str]:
    """A line for each picture that a GenEval reward has judged; nothing from records that hold no objects."""
    for each in pictures:
        record = records.get(each.key)
        if record is None or not record.is_scored or "objects" not in record.details:
            continue
        correct = record.parts["official"] == 1
        threshold = COUNTING_CONFIDENCE if record.tag == "counting" else CONFIDENCE
        confident = {
            label: [box for box in boxes if is_above(box[4], threshold)][:MAX_PER_CLASS]
            for label, boxes in record.details["objects"].items()
        }
        line = {
            "filename": str(each.path),
            "tag": record.tag,
            "prompt": record.prompt,
            "correct": correct,
            "reason": "" if correct else record.note,
            "metadata": json.dumps(each.prompt.metadata),
            "details": json.dumps({label: boxes for label, boxes in confident.items() if boxes}),
        }
        yield f"{store.to_json(line)}\n"
