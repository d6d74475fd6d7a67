"""Samples -> scores -> records -> the numbers of a summary."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flowbench.errors import ConfigError
from flowbench.stats.intervals import interval
from flowbench.types import Sample, Score

Record = dict[str, Any]
"""One scored picture: prompt_id, index, seed, tag, prompt, image, value (None = unscored), parts, note, and
details where there are any. Of several scorers (benchmarks.summary): value, note and details are the first one's; parts
hold the values of all; notes and details_by hold each one's own."""


def to_record(sample: Sample, score: Score, *, index: int, image: str) -> Record:
    """What is kept of one scored picture."""
    return {
        "prompt_id": sample.prompt.id,
        "index": index,
        "seed": sample.seed,
        "tag": sample.prompt.tag,
        "prompt": sample.prompt.text,
        "image": image,
        "value": score.value if score.is_scored else None,
        "parts": {name: float(part) for name, part in score.parts.items()},
        "note": score.note,
        **({"details": score.details} if score.details else {}),
    }


def is_scored(record: Record) -> bool:
    return record["value"] is not None


def metric_values(records: Sequence[Record], metric: str) -> list[float]:
    """The metric on each record: a part's name, or "value" for the score itself; NaN where it is not scored.

    Raises ConfigError for a metric that no record holds, unless nothing was scored at all.
    """
    if metric == "value":
        return [_number(record["value"]) for record in records]
    held = {name for record in records for name in record["parts"]}
    if metric not in held and any(map(is_scored, records)):
        raise ConfigError(f"no record holds the metric '{metric}'. Known: {', '.join(sorted(held | {'value'}))}.")
    return [_number(record["parts"].get(metric)) for record in records]


def tags_of(records: Sequence[Record]) -> list[str] | None:
    """The tag of each record; None when the prompts have no tags."""
    tags = [record["tag"] for record in records]
    return None if any(tag is None for tag in tags) else tags


def summarise(records: Sequence[Record], metrics: Sequence[str], *, over: str = "tags") -> dict[str, dict[str, Any]]:
    """{metric: {"overall": interval, "tags": {tag: interval}}}, each interval as a dictionary.

    Overall is the unweighted mean of the tags' means (`over="tags"`, GenEval's aggregation), or the mean over all
    pictures (`over="pictures"`); per tag it is the mean over pictures.
    """
    return {metric: _intervals(records, metric, over) for metric in metrics}


def unscored_reasons(records: Sequence[Record]) -> dict[str, int]:
    """How often each reason left a picture unscored."""
    return dict(sorted(Counter(record["note"] for record in records if not is_scored(record)).items()))


def _intervals(records: Sequence[Record], metric: str, over: str) -> dict[str, Any]:
    values = metric_values(records, metric)
    prompt_ids = [record["prompt_id"] for record in records]
    tags = tags_of(records)
    per_tag: dict[str, Mapping[str, Any]] = {}
    for tag in dict.fromkeys(tags or []):
        chosen = [place for place, other in enumerate(tags or []) if other == tag]
        per_tag[tag] = asdict(interval([values[i] for i in chosen], [prompt_ids[i] for i in chosen]))
    overall = interval(values, prompt_ids, tags if over == "tags" else None)
    return {"overall": asdict(overall), "tags": per_tag}


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
