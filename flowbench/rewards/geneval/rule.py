"""The GenEval rule: from the objects found on a picture to a verdict on its prompt.

Source: Ghosh et al. 2023 (arXiv 2310.11513) and its published evaluation code, djghosh13/geneval at af4902f. `correct`
is that rule. What we add, and where the published training reward (flow_grpo's reward server) differs, is said at
`judge`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from flowbench.errors import RewardError
from flowbench.registry import did_you_mean
from flowbench.types import Detection
from flowbench.vocabularies import RELATIONS, TAGS

CONFIDENCE, COUNTING_CONFIDENCE, MAX_PER_CLASS = 0.3, 0.9, 16
"""What counts in GenEval: scores above the first (for the tag "counting" the second), at most that many of a class."""

Box = tuple[float, float, float, float]
ColorOf = Callable[[Detection], str]


@dataclass(frozen=True)
class Verdict:
    """What the rule says of one picture; `judge` says how each is found."""

    correct: bool
    """By the official rule: at least the number asked for, of the right colours, in the right places."""
    strict: bool
    """Correct, with exactly the number asked for of each class."""
    exclusive: bool
    """Strict, and nothing else is there."""
    score: float
    """The share of what was asked for that is there, in [0, 1]."""
    reason: str
    """Why it is not correct; empty exactly when it is."""
    extras: int
    """How many objects nothing asked for."""


@dataclass(frozen=True)
class Clause:
    """One `include` clause."""

    label: str
    """The class."""
    count: int
    """How many of it, at least 1."""
    color: str | None = None
    """The colour of all of them, where one is asked for."""
    relation: str | None = None
    """One of RELATIONS, where a place is asked for: where they are, seen from the objects of an earlier clause."""
    target: int = 0
    """That clause's number, from 0."""

    @property
    def number_of_terms(self) -> int:
        return 1 + (self.color is not None) + (self.relation is not None)


@dataclass(frozen=True)
class Asked:
    """What a prompt asks for: its metadata, checked."""

    tag: str | None
    """One of TAGS; None where the prompt has none, which counts as no counting."""
    include: tuple[Clause, ...]
    """What must be there."""
    exclude: tuple[Clause, ...]
    """Of what there must be fewer than its count."""


def judge(
    detections: Sequence[Detection],
    spec: Mapping[str, Any],
    color_of: ColorOf,
    *,
    confidence: float = CONFIDENCE,
    counting_confidence: float = COUNTING_CONFIDENCE,
    max_per_class: int = MAX_PER_CLASS,
    position_threshold: float = 0.1,
    max_overlap: float = 1.0,
) -> Verdict:
    """Judge one picture's detections against its prompt's GenEval metadata.

    `spec` is {tag, include: [{class, count, color?, position?}], exclude?: [{class, count}]}, as `read_spec` wants it;
    position is [relation, number of an earlier clause].
    `color_of` names a detection's colour; it is asked once for each detection and only where a colour matters.
    Detections count when their score is above `confidence` (`counting_confidence` for the tag "counting"), at most
    `max_per_class` of a class in the order of `best_first`; `max_overlap` below 1 drops boxes that overlap a better one
    of their class that much. Scores are compared in float32, as published: float32(.3) is not above .3.

    correct: the official rule. It wants AT LEAST `count` objects of a class and looks at the `count` best ones only.
    strict: correct, with exactly `count` objects of every included class.
    exclusive: strict, and `extras` is 0.
    extras: detections above `confidence` (for counting too) that nothing asked for: of other classes, of the label
    "unknown", and those beyond the count of an included class. `max_per_class` does not limit them.
    score: in [0, 1], the mean of one term for every count, colour and position asked for. Count: 1 - |count - found| /
    count, not below 0. Colour, while the count is exact: the share of the objects that have it. Position, while count
    and colour hold: 1 or 0. Terms that a clause does not reach are 0. Deviations from flow_grpo's reward server, which
    is `flowgrpo.partial_score`: there a count term may be negative, and a wrong position earns (1, 1, 0, 1) / 4 instead
    of (1, 1, 0) / 3.

    Clauses are independent, as in the official code: two clauses with one class and two colours look at the same
    objects, so that "a red circle and a blue circle" can never be correct. Prompt sets avoid such prompts.
    Raises RewardError when the metadata is malformed.
    """
    asked = read_spec(spec)
    clauses = asked.include
    threshold = counting_confidence if asked.tag == "counting" else confidence
    objects = group_by_class(detections, threshold, max_per_class, max_overlap)
    named = asked_once(color_of)
    official = _walk(clauses, objects, named, position_threshold, exact=False)
    exact = _walk(clauses, objects, named, position_threshold, exact=True)
    unwanted = [
        f"expected {clause.label}<{clause.count}, found {len(objects[clause.label])}"
        for clause in asked.exclude
        if len(objects.get(clause.label, [])) >= clause.count
    ]
    failures = [outcome.failure for outcome in official if outcome.failure] + unwanted
    strict = not unwanted and not any(outcome.failure for outcome in exact)
    extras = _count_extras(clauses, group_by_class(detections, confidence, None, max_overlap))
    terms = sum(clause.number_of_terms for clause in clauses)
    earned = math.fsum(term for outcome in exact for term in outcome.terms)
    return Verdict(
        correct=not failures,
        strict=strict,
        exclusive=strict and extras == 0,
        score=earned / terms if terms else float(strict),
        reason="; ".join(failures),
        extras=extras,
    )


def read_spec(spec: Mapping[str, Any]) -> Asked:
    """A prompt's GenEval metadata, checked; keys beside tag, include and exclude are the user's own.

    Raises RewardError that says which clause is malformed and how: what is not understood would be judged as if it were
    not there.
    """
    tag = spec.get("tag")
    if tag is not None and tag not in TAGS:
        raise RewardError(
            f"GenEval metadata: its tag is {tag!r}.{did_you_mean(str(tag).lower(), TAGS)} The tag decides how a prompt "
            f"is judged: give one of {', '.join(TAGS)}, or none."
        )
    return Asked(tag, *(_clauses(kind, spec.get(kind)) for kind in ("include", "exclude")))


def _clauses(kind: str, entries: Any) -> tuple[Clause, ...]:
    """The clauses of one kind, `None` being no clauses."""
    entries = [] if entries is None else entries
    if not isinstance(entries, (list, tuple)) or not all(isinstance(entry, Mapping) for entry in entries):
        raise RewardError(
            f'GenEval metadata: its `{kind}` is {entries!r}. Write a list of objects like {{"class": "circle", '
            '"count": 1}.'
        )
    known = ("class", "count", "color", "position") if kind == "include" else ("class", "count")
    clauses = []
    for place, entry in enumerate(entries):
        where = f"GenEval metadata, {kind} clause {place}"
        odd = next((key for key in entry if key not in known), None)
        if odd is not None:
            raise RewardError(
                f"{where}: it has the key {odd!r}.{did_you_mean(str(odd).lower(), known)} Its keys: {', '.join(known)}."
            )
        label, count, color = entry.get("class"), _whole(entry.get("count")), entry.get("color")
        if not isinstance(label, str) or count is None or count < 1:
            raise RewardError(
                f"{where}: class is {label!r} and count is {entry.get('count')!r}. Give a name and a count from 1 on."
            )
        if color is not None and not isinstance(color, str):
            raise RewardError(f"{where}: its color is {color!r}. Give a colour's name.")
        relation, target = _position(where, entry.get("position"), place)
        clauses.append(Clause(label, count, color, relation, target))
    return tuple(clauses)


def _position(where: str, position: Any, place: int) -> tuple[str | None, int]:
    """The relation (None without one) and the number of the clause that it is seen from, before the `place`-th."""
    if position is None:
        return None, 0
    relation, target = position if isinstance(position, (list, tuple)) and len(position) == 2 else (None, None)
    target = _whole(target)
    if relation not in RELATIONS or target is None or not 0 <= target < place:
        raise RewardError(
            f"{where}: its position is {position!r}. Give [relation, number of an earlier clause, from 0], "
            f"the relation being one of: {', '.join(RELATIONS)}."
        )
    return relation, target


def _whole(value: Any) -> int | None:
    """2 of 2 and 2.0 (a table may have made one of the other); None of all else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def is_above(score: float, threshold: float) -> bool:
    """Compared in float64, whatever the detector's precision: a score of float32(.3), .30000001192, is above .3.

    Where the published code holds its scores in a float32 array, numpy rounds .3 to the same number first.
    """
    return float(score) > threshold


def best_first(detections: Iterable[Detection]) -> list[Detection]:
    """By descending score; of equal ones the later stands first: the published code reverses an argsort."""
    return sorted(detections, key=lambda detection: float(detection.score))[::-1]


def group_by_class(
    detections: Iterable[Detection], threshold: float, limit: int | None, max_overlap: float
) -> dict[str, list[Detection]]:
    """Detections with a score above `threshold`, by class, best first, at most `limit` of each."""
    groups: dict[str, list[Detection]] = {}
    for detection in best_first(each for each in detections if is_above(each.score, threshold)):
        groups.setdefault(detection.label, []).append(detection)
    return {label: _drop_overlapping(group[:limit], max_overlap) for label, group in groups.items()}


def relations(box: Box, other: Box, threshold: float = 0.1) -> set[str]:
    """Where the object of `box` is, seen from the one of `other`: none, one or two of RELATIONS."""
    offsets, rests = [], []
    for low, high in ((0, 2), (1, 3)):
        offset = (box[low] + box[high]) / 2 - (other[low] + other[high]) / 2
        size = abs(box[high] - box[low]) + abs(other[high] - other[low])
        offsets.append(offset)
        rests.append(math.copysign(max(abs(offset) - threshold * size, 0.0), offset))
    if all(abs(rest) < 1e-3 for rest in rests):
        return set()
    dx, dy = (rest / math.hypot(*offsets) for rest in rests)  # divided by the whole offset, as published
    holds = {"left of": dx < -0.5, "right of": dx > 0.5, "above": dy < -0.5, "below": dy > 0.5}
    return {relation for relation, true in holds.items() if true}


@dataclass(frozen=True)
class _Outcome:
    terms: list[float]
    failure: str = ""


def _walk(
    clauses: Sequence[Clause],
    objects: Mapping[str, list[Detection]],
    color_of: ColorOf,
    position_threshold: float,
    *,
    exact: bool,
) -> list[_Outcome]:
    """Check the clauses in order; `exact` refuses a surplus too. A clause may look back at those that held."""
    outcomes = []
    matched: list[list[Detection] | None] = []
    for clause in clauses:
        found = objects.get(clause.label, [])
        outcome = _check(clause, found, matched, color_of, position_threshold, exact)
        outcomes.append(outcome)
        matched.append(None if outcome.failure else found[: clause.count])
    return outcomes


def _check(
    clause: Clause,
    objects: list[Detection],
    matched: list[list[Detection] | None],
    color_of: ColorOf,
    position_threshold: float,
    exact: bool,
) -> _Outcome:
    """One clause: the terms it earned before its first failure, and that failure."""
    label, count, number = clause.label, clause.count, len(objects)
    terms = [max(1 - abs(count - number) / count, 0.0)]
    if number < count or (exact and number > count):
        return _Outcome(terms, f"expected {label}{'==' if exact else '>='}{count}, found {number}")
    found = objects[:count]
    if clause.color is not None:
        colors = [color_of(detection) for detection in found]
        right = colors.count(clause.color)
        terms.append(right / count)
        if right < count:
            seen = ", ".join(f"{colors.count(color)} {color}" for color in sorted(set(colors)))
            return _Outcome(terms, f"expected {clause.color} {label}>={count}, found {seen}")
    if clause.relation is not None:
        failure = _misplaced(clause, found, matched[clause.target], position_threshold)
        terms.append(0.0 if failure else 1.0)
        return _Outcome(terms, failure)
    return _Outcome(terms)


def _misplaced(clause: Clause, found: list[Detection], targets: list[Detection] | None, threshold: float) -> str:
    """Why the found objects are not all placed as asked; empty when they are."""
    if targets is None:
        return f"no target for {clause.label} to be {clause.relation}"
    for detection, target in product(found, targets):
        seen = relations(detection.box, target.box, threshold)
        if clause.relation not in seen:
            place = " and ".join(relation for relation in RELATIONS if relation in seen) or "in no clear place from"
            return f"expected {clause.label} {clause.relation} {target.label}, found {place} it"
    return ""


def _count_extras(clauses: Sequence[Clause], present: Mapping[str, list[Detection]]) -> int:
    asked: dict[str, int] = {}
    for clause in clauses:
        asked[clause.label] = max(asked.get(clause.label, 0), clause.count)
    return sum(max(len(group) - asked.get(label, 0), 0) for label, group in present.items())


def _drop_overlapping(group: list[Detection], max_overlap: float) -> list[Detection]:
    """Greedy suppression, best first; an overlap of `max_overlap` or more drops the lesser box. 1 keeps all."""
    if max_overlap >= 1:
        return group
    kept: list[Detection] = []
    for detection in group:
        if all(_overlap(better.box, detection.box) < max_overlap for better in kept):
            kept.append(detection)
    return kept


def _overlap(box: Box, other: Box) -> float:
    """Intersection over union of boxes whose last pixel counts (+1), as published."""
    common = _area((max(box[0], other[0]), max(box[1], other[1]), min(box[2], other[2]), min(box[3], other[3])))
    union = _area(box) + _area(other) - common
    return common / union if union else 0.0


def _area(box: Box) -> float:
    return max(box[2] - box[0] + 1, 0) * max(box[3] - box[1] + 1, 0)


def asked_once(color_of: ColorOf) -> ColorOf:
    """`color_of`, asked once for each detection (by identity: a detection's mask cannot be hashed)."""
    known: dict[int, str] = {}

    def remembered(detection: Detection) -> str:
        if id(detection) not in known:
            known[id(detection)] = color_of(detection)
        return known[id(detection)]

    return remembered
