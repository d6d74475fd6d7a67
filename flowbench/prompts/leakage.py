"""What training and evaluation prompts share: whole texts, and the values of each template slot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowbench.types import Prompt

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
    seen = {slot: {value for prompt in training for value in values_of(prompt)} for slot, values_of in SLOTS.items()}
    rows = []
    for tag in dict.fromkeys(prompt.tag or "" for prompt in evaluation):
        for slot, values_of in SLOTS.items():
            evaluated = {value for prompt in evaluation if (prompt.tag or "") == tag for value in values_of(prompt)}
            if evaluated:
                rows.append(Overlap(tag, slot, len(evaluated), len(evaluated & seen[slot])))
    return rows


def _clauses(prompt: Prompt) -> list[dict[str, Any]]:
    return list(prompt.metadata.get("include", []))


def _text(prompt: Prompt) -> Iterator[Any]:
    yield prompt.text


def _class(prompt: Prompt) -> Iterator[Any]:
    yield from (clause["class"] for clause in _clauses(prompt))


def _color(prompt: Prompt) -> Iterator[Any]:
    yield from (clause["color"] for clause in _clauses(prompt) if "color" in clause)


def _count(prompt: Prompt) -> Iterator[Any]:
    yield from (clause["count"] for clause in _clauses(prompt) if clause.get("count", 1) > 1)


def _relation(prompt: Prompt) -> Iterator[Any]:
    yield from (clause["position"][0] for clause in _clauses(prompt) if "position" in clause)


def _class_color(prompt: Prompt) -> Iterator[Any]:
    yield from ((clause["class"], clause["color"]) for clause in _clauses(prompt) if "color" in clause)


def _class_count(prompt: Prompt) -> Iterator[Any]:
    yield from ((clause["class"], clause["count"]) for clause in _clauses(prompt) if clause.get("count", 1) > 1)


def _class_pair(prompt: Prompt) -> Iterator[Any]:
    if len(_clauses(prompt)) > 1:
        yield tuple(sorted(clause["class"] for clause in _clauses(prompt)))


_MIRRORED = {"right of": "left of", "below": "above"}


def content(metadata: Mapping[str, Any]) -> Content:
    """What GenEval metadata asks a picture to show, whichever object is named first; two wordings of one are equal."""
    clauses = metadata.get("include", [])
    objects = sorted((clause["class"], clause.get("color", ""), clause.get("count", 1)) for clause in clauses)
    return tuple(objects), tuple(_arrangement(clauses, clause) for clause in clauses if "position" in clause)


def _content(prompt: Prompt) -> Iterator[Any]:
    yield content(prompt.metadata)


def _arrangement(clauses: list[dict[str, Any]], clause: dict[str, Any]) -> tuple[str, str, str]:
    """(left of or above, the one, the other)."""
    relation, other = clause["position"]
    one, another = clause["class"], clauses[other]["class"]
    return (_MIRRORED[relation], another, one) if relation in _MIRRORED else (relation, one, another)


SLOTS: dict[str, Callable[[Prompt], Iterator[Any]]] = {
    "text": _text,
    "content": _content,
    "class": _class,
    "color": _color,
    "count": _count,
    "relation": _relation,
    "class and color": _class_color,
    "class and count": _class_count,
    "pair of classes": _class_pair,
}
