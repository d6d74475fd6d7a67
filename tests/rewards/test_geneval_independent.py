"""The GenEval rule against a second implementation on 10,000 random pictures each.

`judged` and `partial` were written from the specification (arXiv 2310.11513; flow_grpo's reward server for `partial`)
and the docstring of `judge`, without a look at the code of `rule.py`.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy
import pytest

from flowbench.rewards.geneval import judge
from flowbench.rewards.geneval.flowgrpo import partial_score
from flowbench.types import Detection

CASES = 10_000
LABELS = ["cat", "dog", "cup"]
COLORS = ["red", "blue"]
SIDES = ["left of", "right of", "above", "below"]
SCORES = [0.2, 0.3, 0.3000001, 0.5, 0.8, 0.9, 0.9000001, 0.95, 1.0]  # on, just above and far from both thresholds
SCORES += [float(numpy.float32(score)) for score in SCORES]  # as a network gives them


def kept(detections, label, threshold, limit=16, max_overlap=1.0):
    """Indices of the class above the threshold; the rank of each is the number of those that go before it."""
    scores = [one.score for one in detections]
    above = [place for place, one in enumerate(detections) if one.label == label and scores[place] > threshold]

    def rank(place):
        return sum(  # ties to the later one
            scores[other] > scores[place] or (scores[other] == scores[place] and other > place) for other in above
        )

    ranked = dict(sorted((rank(place), place) for place in above if rank(place) < limit))
    chosen = []
    for place in ranked.values():
        if max_overlap == 1 or all(overlap(detections[place].box, detections[one].box) < max_overlap for one in chosen):
            chosen.append(place)
    return chosen


def overlap(a, b):
    """Intersection over union of boxes whose last pixel belongs to them."""
    sides = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i]) + 1) for i in (0, 1)]
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1])


def stands(a, relation, b):
    """Is `a` in this relation to `b`? One axis and one sign for each relation."""
    axis, sign = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}[relation]
    corners = numpy.array([a, b], dtype=float).reshape(2, 2, 2)  # object, corner, axis
    offset = corners.mean(axis=1)[0] - corners.mean(axis=1)[1]
    slack = 0.1 * abs(corners[:, 1] - corners[:, 0]).sum(axis=0)
    revised = numpy.sign(offset) * numpy.clip(abs(offset) - slack, 0, None)
    if (abs(revised) < 1e-3).all():
        return False
    return bool(sign * revised[axis] / numpy.sqrt((offset**2).sum()) > 0.5)


def all_stand(detections, mine, relation, theirs):
    return all(stands(detections[a].box, relation, detections[b].box) for a, b in itertools.product(mine, theirs))


def judged(detections, spec, max_overlap):
    """(correct, strict, exclusive, score, extras)"""
    threshold = {"counting": 0.9}.get(spec["tag"], 0.3)
    seen = {label: kept(detections, label, threshold, 16, max_overlap) for label in LABELS}
    good, targets, terms, exact_targets = [], [], [], []
    for clause in spec["include"]:
        every, count, color = seen[clause["class"]], clause["count"], clause.get("color")
        # the official reading: the best ones alone are looked at
        best = every[:count]
        fine = len(best) == count and (color is None or sum(detections[p].color == color for p in best) >= count)
        if fine and "position" in clause:
            relation, target = clause["position"]
            fine = targets[target] is not None and all_stand(detections, best, relation, targets[target])
        good.append(fine)
        targets.append(best if fine else None)
        # the graded reading: as many as asked for, and all of them
        exact = len(every) == count
        terms.append(max(0.0, 1 - abs(count - len(every)) / count))
        if color is not None:
            share = sum(detections[p].color == color for p in every) / count if exact else 0.0
            terms.append(share)
            exact = exact and share == 1
        if "position" in clause:
            relation, target = clause["position"]
            exact = (
                exact
                and exact_targets[target] is not None
                and all_stand(detections, every, relation, exact_targets[target])
            )
            terms.append(float(exact))
        exact_targets.append(every if exact else None)
    banned = any(len(seen[clause["class"]]) >= clause["count"] for clause in spec.get("exclude", []))
    correct = all(good) and not banned
    strict = correct and all(len(seen[clause["class"]]) == clause["count"] for clause in spec["include"])
    asked = {}
    for clause in spec["include"]:
        asked[clause["class"]] = max(asked.get(clause["class"], 0), clause["count"])
    every = {label: kept(detections, label, 0.3, 10**9, max_overlap) for label in [*LABELS, "unknown"]}
    extras = sum(max(0, len(places) - asked.get(label, 0)) for label, places in every.items())
    return correct, strict, strict and extras == 0, sum(terms) / len(terms), extras


def partial(detections, spec):
    """flow_grpo's list of terms, as section 1.1.6 tells it."""
    threshold = 0.9 if spec["tag"] == "counting" else 0.3
    terms, matched = [], []
    for clause in spec["include"]:
        places, count = kept(detections, clause["class"], threshold), clause["count"]
        terms += [1 - abs(count - len(places)) / count]
        holds = len(places) == count
        if not holds and ("color" in clause or "position" in clause):
            terms += [0]
        if holds and "color" in clause:
            right = Counter(detections[p].color for p in places)[clause["color"]]
            terms += [1 - abs(count - right) / count]
            holds = right == count
        if holds and "position" in clause:
            relation, target = clause["position"]
            if matched[target] is None:
                holds = False
                terms += [0]
            else:
                holds = all_stand(detections, places, relation, matched[target])
                terms += [] if holds else [0]
                terms += [1]  # always appended
        matched.append(places if holds else None)
    return sum(terms) / len(terms)


def random_case(rng):
    """A few objects (sometimes forty) on a coarse grid, and one to three clauses."""
    clauses = []
    for number in range(rng.choice([1, 1, 2, 2, 3])):
        clause = {"class": rng.choice(LABELS), "count": rng.choice([1, 1, 1, 2, 3, 4])}
        if rng.random() < 0.4:
            clause["color"] = rng.choice(COLORS)
        if number and rng.random() < 0.7:
            clause["position"] = [rng.choice(SIDES), rng.randrange(number)]
        clauses.append(clause)
    if rng.random() < 0.03:  # around the sixteen objects of a class that are looked at
        clauses[0]["count"] = rng.choice([15, 16, 17])
    spec = {"tag": rng.choice(["counting", "position", "two_object"]), "include": clauses}
    if rng.random() < 0.3:
        spec["exclude"] = [{"class": clauses[0]["class"], "count": clauses[0]["count"] + 1}]
        if rng.random() < 0.3:
            spec["exclude"].append({"class": rng.choice(LABELS), "count": rng.choice([1, 2])})
    return detections_for(rng, clauses), spec


def detections_for(rng, clauses):
    """Objects that often fit the clauses, one or two too many or too few, with ties and equal boxes."""
    wanted = [clause["class"] for clause in clauses for _ in range(clause["count"])]
    labels = [label for label in wanted if rng.random() < 0.9]
    labels += [rng.choice([*LABELS, "unknown"]) for _ in range(rng.choice([0, 0, 0, 1, 2]))]
    if rng.random() < 0.02:
        labels += [rng.choice(LABELS)] * 40
    rng.shuffle(labels)
    colors = {clause["class"]: clause.get("color") for clause in clauses}
    sure = rng.random() < 0.5
    found = []
    for label in labels:
        x, y = rng.randrange(0, 60, 5), rng.randrange(0, 60, 5)
        box = (float(x), float(y), float(x + rng.choice([5, 10, 20])), float(y + rng.choice([5, 10, 20])))
        color = colors.get(label) if rng.random() < 0.7 else None
        score = rng.choice(SCORES[-3:] if sure else SCORES)
        found.append(Detection(label, score, box, color=color or rng.choice(COLORS)))
    return found


def test_ten_thousand_verdicts_agree():
    rng = random.Random(20250303)
    seen = Counter()
    for number in range(CASES):
        detections, spec = random_case(rng)
        max_overlap = rng.choice([1.0, 1.0, 0.5, 0.2])
        verdict = judge(detections, spec, lambda detection: detection.color, max_overlap=max_overlap)
        mine = judged(detections, spec, max_overlap)
        theirs = (verdict.correct, verdict.strict, verdict.exclusive, verdict.score, verdict.extras)
        assert theirs == pytest.approx(mine, abs=1e-12), (number, detections, spec, max_overlap)
        assert (verdict.reason == "") == verdict.correct
        names = ("correct", "strict", "exclusive")
        seen.update(name for name, holds in zip(names, theirs, strict=False) if holds)
        seen.update({"graded": 0 < verdict.score < 1, "extras": verdict.extras > 0, "none": verdict.score == 0})
    assert min(seen[name] for name in ("correct", "strict", "exclusive", "graded", "extras", "none")) > 300, seen
    assert seen["correct"] > seen["strict"] > seen["exclusive"]


def test_ten_thousand_partial_scores_agree():
    rng = random.Random(8)
    values = []
    for number in range(CASES):
        detections, spec = random_case(rng)
        value = partial_score(detections, spec, lambda detection: detection.color)
        assert value == pytest.approx(partial(detections, spec), abs=1e-12), (number, detections, spec)
        values.append(value)
    assert sum(value == 1 for value in values) > 300
    assert sum(value < 0 for value in values) > 100  # more than twice as many as asked for
    assert sum(0 < value < 1 for value in values) > 3000
