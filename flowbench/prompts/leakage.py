"""What training and evaluation prompts share: whole texts, and the values of each template slot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowbench.types import Prompt
from flowbench.vocabularies import MIRRORED

Content = tuple[tuple[tuple[str, str, int], ...], tuple[tuple[str, str, str], ...]]
"""(class, colour or "", count) of each object, sorted; (left of or above, the one, the other) of each relation."""


@dataclass(frozen=True)
class Overlap:
    """One slot of one tag: distinct values among the evaluation prompts, and how many of them training has too."""

    tag: str
    slot: str
    evaluated: int
    shared: int


def leakage(training: Sequence[Prompt], evaluation: Sequence[Prompt]) -> list[Overlap]:
    """Overlap by tag and slot, from GenEval metadata. Slots: the whole text; the content (the same picture asked for,
    whichever object is named first: "a left of b" is "b right of a"); class; colour; count; relation; and the
    combinations that composition is about: class with colour, class with count, and the pair of classes."""
    trained = _values(training)
    rows = []
    for tag in dict.fromkeys(prompt.tag or "" for prompt in evaluation):
        for slot, values in _values(prompt for prompt in evaluation if (prompt.tag or "") == tag).items():
            if values:
                rows.append(Overlap(tag, slot, len(values), len(values & trained.get(slot, set()))))
    return rows


def _values(prompts: Iterable[Prompt]) -> dict[str, set[Any]]:
    """Slot -> its distinct values among the prompts."""
    found: dict[str, set[Any]] = {}
    for prompt in prompts:
        for slot, values in slots(prompt).items():
            found.setdefault(slot, set()).update(values)
    return found


def slots(prompt: Prompt) -> dict[str, list[Any]]:
    """Slot -> the values that the prompt puts into it, by its text and its GenEval metadata."""
    clauses = prompt.metadata.get("include", [])
    classes = [clause["class"] for clause in clauses]
    colored = [clause for clause in clauses if "color" in clause]
    counted = [clause for clause in clauses if clause.get("count", 1) > 1]
    return {
        "text": [prompt.text],
        "content": [content(prompt.metadata)],
        "class": classes,
        "color": [clause["color"] for clause in colored],
        "count": [clause["count"] for clause in counted],
        "relation": [clause["position"][0] for clause in clauses if "position" in clause],
        "class and color": [(clause["class"], clause["color"]) for clause in colored],
        "class and count": [(clause["class"], clause["count"]) for clause in counted],
        "pair of classes": [tuple(sorted(classes))] if len(classes) > 1 else [],
    }


def content(metadata: Mapping[str, Any]) -> Content:
    """What GenEval metadata asks a picture to show, whichever object is named first; two wordings of one are equal."""
    clauses = metadata.get("include", [])
    objects = sorted((clause["class"], clause.get("color", ""), clause.get("count", 1)) for clause in clauses)
    relations = []
    for clause in clauses:
        if "position" in clause:
            relation, other = clause["position"]
            one, another = clause["class"], clauses[other]["class"]
            relations.append((MIRRORED[relation], another, one) if relation in MIRRORED else (relation, one, another))
    return tuple(objects), tuple(relations)
