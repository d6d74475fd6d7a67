"""The partial score that flow_grpo trains on, kept as published, for reproduction only.

Source: yifan123/reward-server, `reward_server/gen_eval.py`, `evaluate_reward`. Its quirks, which `rule.judge` does not
share: a count term is not bounded below (1 wanted, 5 found: -3); a wrong position adds 0 and then 1 all the same, so
that (1, 1, 0, 1) / 4 = .75; a wrong count adds one 0 for a colour and a position together, and a wrong colour leaves
the position out; `exclude` is ignored. Its server is also sent a JPEG of quality 75, feeds its detector red and blue
swapped and runs its colour model with the wrong activation: those three belong to what it looks at and are not repeated
here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from flowbench.rewards.geneval.rule import (
    CONFIDENCE,
    COUNTING_CONFIDENCE,
    MAX_PER_CLASS,
    Clause,
    ColorOf,
    group_by_class,
    read_spec,
    relations,
)
from flowbench.types import Detection


def partial_score(
    detections: Sequence[Detection],
    spec: Mapping[str, Any],
    color_of: ColorOf,
    *,
    confidence: float = CONFIDENCE,
    counting_confidence: float = COUNTING_CONFIDENCE,
    max_per_class: int = MAX_PER_CLASS,
) -> float:
    """The published mean of terms: at most 1, without a lower bound; 0 for metadata without `include`."""
    asked = read_spec(spec)
    threshold = counting_confidence if asked.tag == "counting" else confidence
    objects = group_by_class(detections, threshold, max_per_class, max_overlap=1.0)
    terms: list[float] = []
    matched: list[list[Detection] | None] = []
    for clause in asked.include:
        found = objects.get(clause.label, [])
        earned, holds = _terms(clause, found, matched, color_of)
        terms.extend(earned)
        matched.append(found if holds else None)
    return sum(terms) / len(terms) if terms else 0.0


def _terms(
    clause: Clause, found: list[Detection], matched: list[list[Detection] | None], color_of: ColorOf
) -> tuple[list[float], bool]:
    """One clause's terms, and whether it held."""
    count = clause.count
    terms = [1 - abs(count - len(found)) / count]
    if len(found) != count:
        asks_more = clause.color is not None or clause.relation is not None
        return terms + [0.0] * asks_more, False
    if clause.color is not None:
        right = sum(color_of(detection) == clause.color for detection in found)
        terms.append(1 - abs(count - right) / count)
        if right != count:
            return terms, False
    if clause.relation is not None:
        targets = matched[clause.target]
        if targets is None:
            return [*terms, 0.0], False
        holds = all(clause.relation in relations(one.box, other.box) for one, other in product(found, targets))
        return terms + ([1.0] if holds else [0.0, 1.0]), holds  # the 1 after the 0 is the published bug
    return terms, True
