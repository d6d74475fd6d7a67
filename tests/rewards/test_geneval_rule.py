"""The GenEval rule: hand-computed cases, and a second implementation on random ones."""

from __future__ import annotations

import math

import numpy
import pytest

from flowbench.errors import RewardError
from flowbench.rewards.geneval import Detection, judge
from flowbench.rewards.geneval.flowgrpo import partial_score
from flowbench.rewards.geneval.rule import relations

HERE = (0.0, 0.0, 10.0, 10.0)


def found(label, score=0.95, box=HERE, color="red"):
    return Detection(label, score, box, color=color)


def color_of(detection):
    return detection.color


def include(*clauses, tag="two_object", **more):
    return {"tag": tag, "include": list(clauses), **more}


def clause(label, count=1, **more):
    return {"class": label, "count": count, **more}


def counting(label, count):
    return include(clause(label, count), tag="counting", exclude=[clause(label, count + 1)])


# Counts and thresholds


def test_at_least_n_is_correct_and_exactly_n_is_strict():
    verdict = judge([found("cat"), found("cat")], include(clause("cat")), color_of)
    assert (verdict.correct, verdict.strict, verdict.exclusive) == (True, False, False)
    assert (verdict.score, verdict.extras, verdict.reason) == (0.0, 1, "")  # 1 - |1 - 2| / 1 = 0
    verdict = judge([found("cat")], include(clause("cat")), color_of)
    assert (verdict.correct, verdict.strict, verdict.exclusive, verdict.score, verdict.extras) == (True,) * 3 + (1.0, 0)


@pytest.mark.parametrize(
    ("score", "correct"),
    [
        (0.3, False),
        (numpy.float32(0.3), True),  # .30000001192
        (float(numpy.float32(0.3)), True),
        (float(numpy.nextafter(numpy.float32(0.3), numpy.float32(0))), False),
        (0.300001, True),
    ],
)
def test_the_confidence_threshold_is_strict_and_compared_in_float64(score, correct):
    verdict = judge([found("cat", score)], include(clause("cat")), color_of)
    assert (verdict.correct, verdict.extras) == (correct, 0)
    assert judge([found("dog", score)], include(clause("cat")), color_of).extras == correct
    assert partial_score([found("cat", score)], include(clause("cat")), color_of) == correct


@pytest.mark.parametrize(("score", "correct"), [(0.9, False), (numpy.float32(0.9), False), (0.900001, True)])
def test_counting_has_its_own_threshold(score, correct):
    detections = [found("cat", 0.95), found("cat", score)]
    assert judge(detections, counting("cat", 2), color_of).correct is correct


def test_counting_refuses_one_too_many_and_says_both_reasons():
    three = [found("cat")] * 3
    verdict = judge(three, counting("cat", 2), color_of)
    assert verdict.reason == "expected cat<3, found 3" and not verdict.correct
    assert verdict.score == 0.5 and verdict.extras == 1  # 1 - |2 - 3| / 2
    spec = include(clause("dog"), clause("bird", 2), exclude=[clause("cat")])
    assert judge(three, spec, color_of).reason == (
        "expected dog>=1, found 0; expected bird>=2, found 0; expected cat<1, found 3"
    )


def test_a_doubtful_object_is_no_count_but_an_extra():
    detections = [found("cat"), found("cat"), found("cat", 0.5)]
    verdict = judge(detections, counting("cat", 2), color_of)
    assert verdict.correct and verdict.strict and not verdict.exclusive
    assert verdict.extras == 1 and verdict.score == 1.0


def test_extras_are_other_classes_unknown_blobs_and_surplus():
    detections = [found("cat"), found("cat"), found("dog"), found("unknown", 0.31), found("unknown", 0.3)]
    verdict = judge(detections, include(clause("cat")), color_of)
    assert verdict.extras == 3 and verdict.correct and not verdict.exclusive
    alone = judge([found("cat"), found("unknown", 0.31)], include(clause("cat")), color_of)
    assert alone.strict and not alone.exclusive and alone.extras == 1


def test_at_most_sixteen_of_a_class_count_but_all_are_extras():
    twenty = [found("cat")] * 20
    assert judge(twenty, include(clause("cat", 16)), color_of).strict
    assert judge(twenty, include(clause("cat", 16)), color_of).extras == 4
    assert not judge(twenty, include(clause("cat", 17)), color_of).correct
    assert judge(twenty, include(clause("cat", 17)), color_of, max_per_class=17).correct


def test_overlapping_boxes_fall_only_when_asked_and_count_the_last_pixel():
    # Boxes of 10 + 1 pixels a side, 1 apart: common 10 x 11, union 2 x 121 - 110 = 132, overlap 110 / 132 = .8333
    pair = [found("cat", 0.95), found("cat", 0.94, (1.0, 0.0, 11.0, 10.0))]
    assert judge(pair, include(clause("cat", 2)), color_of).correct
    assert judge(pair, include(clause("cat", 2)), color_of, max_overlap=0.84).correct
    below = judge(pair, include(clause("cat", 2)), color_of, max_overlap=0.83)
    assert not below.correct and below.reason == "expected cat>=2, found 1"


# Colours


def test_only_the_best_objects_colours_count():
    detections = [found("cat", 0.9, color="blue"), found("cat", 0.5, color="red")]
    spec = include(clause("cat", color="red"), tag="colors")
    assert judge(detections, spec, color_of).reason == "expected red cat>=1, found 1 blue"
    assert judge(detections[::-1], spec, color_of).correct is False
    better = [found("cat", 0.5, color="blue"), found("cat", 0.9, color="red")]
    assert judge(better, spec, color_of).correct


def test_of_equal_scores_the_later_object_counts_as_in_the_published_reversed_argsort():
    spec = include(clause("cat", color="red"), tag="colors")
    blue_then_red = [found("cat", 0.9, color="blue"), found("cat", 0.9, color="red")]
    scores = numpy.array([one.score for one in blue_then_red], dtype=numpy.float32)
    assert numpy.argsort(scores)[::-1].tolist() == [1, 0]
    assert judge(blue_then_red, spec, color_of).correct and not judge(blue_then_red[::-1], spec, color_of).correct
    # sixteen of twenty equal ones count: the first four fall out, and with them the only red one
    twenty = [found("cat", 0.5, color="red" if place == 0 else "blue") for place in range(20)]
    assert judge(twenty, spec, color_of).reason == "expected red cat>=1, found 1 blue"
    assert judge(twenty[::-1], spec, color_of).correct


def test_of_equal_scores_the_later_object_is_where_the_published_code_looks():
    left, right = (0.0, 0.0, 10.0, 10.0), (60.0, 0.0, 70.0, 10.0)
    pair = [found("cat", 0.9, right), found("cat", 0.9, left), found("dog", 0.9, (30.0, 0.0, 40.0, 10.0))]
    assert judge(pair, position(), color_of).correct and not judge(pair, position("right of"), color_of).correct


def test_partial_colour_credit():
    detections = [found("cat", color="red"), found("cat", color="blue")]
    verdict = judge(detections, include(clause("cat", 2, color="red")), color_of)
    assert verdict.score == 0.75 and not verdict.strict  # count 1, colour 1 of 2
    too_many = judge(detections[::-1], include(clause("cat", 1, color="red")), color_of)
    assert too_many.score == 0.0  # count 0, colour 0 while the count is wrong
    assert too_many.correct and not too_many.strict


def test_color_attr_wants_both():
    spec = include(clause("cat", color="red"), clause("dog", color="blue"), tag="color_attr")
    swapped = [found("cat", color="blue"), found("dog", color="red")]
    assert judge(swapped, spec, color_of).score == 0.5
    assert judge([found("cat", color="red"), found("dog", color="blue")], spec, color_of).exclusive


def test_one_class_in_two_colours_is_never_correct():
    spec = include(clause("cat", color="red"), clause("cat", color="blue"))
    assert not judge([found("cat", color="red"), found("cat", color="blue")], spec, color_of).correct


def test_each_colour_is_asked_once_and_only_when_it_matters():
    asked = []

    def ask(detection):
        asked.append(detection)
        return "red"

    judge([found("cat"), found("dog")], include(clause("cat", color="red"), clause("dog")), ask)
    assert [detection.label for detection in asked] == ["cat"]


# Positions


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((-20.0, 0.0, -10.0, 10.0), {"left of"}),
        ((20.0, 0.0, 30.0, 10.0), {"right of"}),
        ((0.0, -20.0, 10.0, -10.0), {"above"}),
        ((0.0, 20.0, 10.0, 30.0), {"below"}),
        # sizes 10 + 10, so an offset of .1 x 20 = 2 is swallowed whole
        ((2.0, 0.0, 12.0, 10.0), set()),
        ((2.0009, 0.0, 12.0009, 10.0), set()),  # what is left is under .001
        # offset 4: (4 - 2) / 4 = .5 is not above .5
        ((4.0, 0.0, 14.0, 10.0), set()),
        ((-4.0, 0.0, 6.0, 10.0), set()),
        ((0.0, 4.0, 10.0, 14.0), set()),
        ((0.0, -4.0, 10.0, 6.0), set()),
        ((4.01, 0.0, 14.01, 10.0), {"right of"}),
        # offset (20, 20): 18 / 28.28 = .636 on both axes
        ((20.0, 20.0, 30.0, 30.0), {"right of", "below"}),
        # offset (-20, 10): 18 / 22.36 = .805 and 8 / 22.36 = .358
        ((-20.0, 10.0, -10.0, 20.0), {"left of"}),
    ],
)
def test_relations_to_a_box_at_the_origin(box, expected):
    assert relations(box, HERE) == expected


def position(relation="left of"):
    return include(clause("dog"), clause("cat", position=[relation, 0]), tag="position")


def test_position_looks_at_the_earlier_group():
    left, right = (0.0, 0.0, 10.0, 10.0), (30.0, 0.0, 40.0, 10.0)
    good = judge([found("cat", box=left), found("dog", box=right)], position(), color_of)
    assert good.exclusive and good.score == 1.0
    bad = judge([found("cat", box=right), found("dog", box=left)], position(), color_of)
    assert bad.reason == "expected cat left of dog, found right of it"
    assert bad.score == 2 / 3  # (1, 1, 0) / 3
    none = judge([found("cat", box=left)], position(), color_of)
    assert none.reason == "expected dog>=1, found 0; no target for cat to be left of"
    assert none.score == 1 / 3  # count of dogs 0, of cats 1, position 0


def test_position_of_the_best_object_is_correct_but_not_strict_with_a_second_one():
    left, right = (0.0, 0.0, 10.0, 10.0), (30.0, 0.0, 40.0, 10.0)
    detections = [found("cat", 0.9, left), found("cat", 0.5, (60.0, 0.0, 70.0, 10.0)), found("dog", 0.9, right)]
    verdict = judge(detections, position(), color_of)
    assert verdict.correct and not verdict.strict
    assert verdict.score == 1 / 3  # dogs 1; cats 0 of two; position 0


def test_position_on_top_of_each_other_has_no_relation():
    verdict = judge([found("cat"), found("dog")], position(), color_of)
    assert verdict.reason == "expected cat left of dog, found in no clear place from it"


CAT = clause("cat")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (include({"class": "cat"}), "include clause 0: class is 'cat' and count is None"),
        (include(clause("cat", 0)), "include clause 0: .*count is 0"),
        (include(clause("cat", -1)), "include clause 0: .*count is -1"),
        (include(clause("cat", "2")), "include clause 0: .*count is '2'"),
        (include(clause("cat", 2.5)), "include clause 0: .*count is 2.5"),
        (include(clause("cat", math.nan)), "include clause 0: .*count is nan"),
        (include(clause("cat", math.inf)), "include clause 0: .*count is inf"),
        (include(clause("cat", True)), "include clause 0: .*count is True"),
        (include(clause("cat", [1])), r"include clause 0: .*count is \[1\]"),
        (include({"count": 1}), "include clause 0: class is None"),
        (include(clause(["cat"])), r"include clause 0: class is \['cat'\]"),
        (include(clause("cat", color=["red"])), r"include clause 0: its color is \['red'\]"),
        (include(clause("cat", color=3)), "include clause 0: its color is 3"),
        (include(clause("cat", colour="red")), "include clause 0: it has the key 'colour'. Did you mean 'color'"),
        (include(clause("cat", Color="red")), "include clause 0: it has the key 'Color'. Did you mean 'color'"),
        (include(clause("cat", position=["left of", 0])), "include clause 0: its position"),
        (include(CAT, clause("dog", position=["under", 0])), "include clause 1: its position"),
        (include(CAT, clause("dog", position=["Left of", 0])), "include clause 1: its position"),
        (include(CAT, clause("dog", position=[["left of"], 0])), "include clause 1: its position"),
        (include(CAT, clause("dog", position=["left of", -1])), "include clause 1: its position"),
        (include(CAT, clause("dog", position=["left of", 1])), "include clause 1: its position"),
        (include(CAT, clause("dog", position=["left of", "0"])), "include clause 1: its position"),
        (include(CAT, clause("dog", position=["left of", False])), "include clause 1: its position"),
        (include(CAT, clause("dog", position=["left of", 0.5])), "include clause 1: its position"),
        (include(CAT, clause("dog", position=["left of"])), "include clause 1: its position"),
        (include(CAT, clause("dog", position=[])), "include clause 1: its position"),
        (include(CAT, clause("dog", position={"left of": 0})), "include clause 1: its position"),
        (include(CAT, clause("dog", position="left of")), "include clause 1: its position"),
        (include(CAT, exclude=[{"class": "cat"}]), "exclude clause 0: .*count is None"),
        (include(CAT, exclude=[clause("dog"), clause("cat", "2")]), "exclude clause 1: .*count is '2'"),
        (include(CAT, exclude=[clause("cat", 2, color="red")]), "exclude clause 0: it has the key 'color'"),
        (include(CAT, exclude="cat"), "its `exclude` is 'cat'"),
        (include(CAT, exclude=clause("cat", 2)), "its `exclude` is {'class'"),
        (include(CAT, exclude=2), "its `exclude` is 2"),
        (include("cat"), r"its `include` is \['cat'\]"),
        ({"tag": None, "include": "cat"}, "its `include` is 'cat'"),
        ({"tag": None, "include": 7}, "its `include` is 7"),
        (include(CAT, tag="Counting"), "its tag is 'Counting'. Did you mean 'counting'"),
        (include(CAT, tag="count"), "its tag is 'count'"),
        (include(CAT, tag=["counting"]), r"its tag is \['counting'\]"),
        (include(CAT, tag=1), "its tag is 1"),
        (include(CAT, tag=""), "its tag is ''"),
    ],
)
def test_malformed_metadata_is_refused_with_the_clause(bad, said):
    for judged in (judge, partial_score):
        with pytest.raises(RewardError, match=f"GenEval metadata[,:] {said}"):
            judged([found("cat"), found("dog")], bad, color_of)


def test_whole_numbers_that_a_table_has_made_floats_and_nulls_are_read_as_meant():
    placed = clause("cat", 1.0, position=["left of", 0.0], color=None)
    spec = {"tag": None, "include": [clause("dog", 1.0, position=None), placed], "exclude": None, "id": 7}
    detections = [found("cat", box=(0.0, 0.0, 10.0, 10.0)), found("dog", box=(30.0, 0.0, 40.0, 10.0))]
    verdict = judge(detections, spec, color_of)
    assert verdict.exclusive and verdict.score == 1.0 == partial_score(detections, spec, color_of)
    assert judge(detections, {"exclude": [clause("cat", 2.0)]}, color_of).correct


# flow_grpo's partial score, by hand


def test_flowgrpo_partial_score_keeps_its_errors():
    five = [found("cat")] * 5
    assert partial_score(five, include(clause("cat")), color_of) == -3.0  # 1 - |1 - 5| / 1
    left, right = (0.0, 0.0, 10.0, 10.0), (30.0, 0.0, 40.0, 10.0)
    wrong = [found("cat", box=right), found("dog", box=left)]
    assert partial_score(wrong, position(), color_of) == 0.75  # (1, 1, 0, 1)
    assert partial_score(wrong[::-1], position("right of"), color_of) == 1.0  # (1, 1, 1)
    assert partial_score([found("cat", box=left)], position(), color_of) == pytest.approx(1 / 3)  # (0, 1, 0)
    colored = include(clause("cat", 2, color="red"))
    assert partial_score([found("cat"), found("cat", color="blue")], colored, color_of) == 0.75  # (1, .5)
    assert partial_score([found("cat")], colored, color_of) == 0.25  # (.5, 0)
    excluded = include(clause("cat"), exclude=[clause("dog")])
    assert partial_score([found("cat"), found("dog")], excluded, color_of) == 1.0
    assert partial_score([], {"include": []}, color_of) == 0.0


# A second implementation, from the text of the specification, on arrays

CLASSES = ("cat", "dog", "bird", "unknown")
PAINTS = ("red", "blue", "green")


def second_opinion(labels, scores, boxes, colors, spec):
    """The official rule on arrays: one row per detection. Returns what `correct` should be."""
    threshold = 0.9 if spec["tag"] == "counting" else 0.3
    scores = scores.astype(numpy.float32)
    ranks = numpy.argsort(scores, kind="stable")[::-1]
    rows = {name: [r for r in ranks if labels[r] == name and scores[r] > threshold][:16] for name in CLASSES}
    ok_groups = []
    for wanted in spec["include"]:
        chosen = numpy.array(rows[wanted["class"]][: wanted["count"]], dtype=int)
        ok = len(chosen) == wanted["count"]
        if ok and "color" in wanted:
            ok = int(numpy.sum(colors[chosen] == wanted["color"])) >= wanted["count"]
        if ok and "position" in wanted:
            name, group = wanted["position"]
            ok = ok_groups[group] is not None and all(
                related(boxes[a], boxes[b], name) for a in chosen for b in ok_groups[group]
            )
        ok_groups.append(chosen if ok else None)
    few_enough = [len(rows[barred["class"]]) < barred["count"] for barred in spec.get("exclude", [])]
    return all(group is not None for group in ok_groups) and all(few_enough)


def related(a, b, name):
    corners = numpy.stack([a, b]).reshape(2, 2, 2)
    offset = corners[0].mean(axis=0) - corners[1].mean(axis=0)
    slack = 0.1 * numpy.abs(corners[:, 1] - corners[:, 0]).sum(axis=0)
    rest = numpy.sign(offset) * numpy.clip(numpy.abs(offset) - slack, 0, None)
    if (numpy.abs(rest) < 1e-3).all():
        return False
    axis, sign = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}[name]
    return bool(sign * rest[axis] / numpy.linalg.norm(offset) > 0.5)


def random_spec(rng):
    tag = rng.choice(["single_object", "two_object", "counting", "colors", "position", "color_attr"])
    one, two = rng.permutation(CLASSES[:3])[:2].tolist()
    if tag == "counting":
        count = int(rng.integers(1, 5))
        return include(clause(one, count), tag=tag, exclude=[clause(one, count + 1)])
    paint = lambda: {"color": str(rng.choice(PAINTS, p=[0.7, 0.2, 0.1]))}  # noqa: E731
    relation = str(rng.choice(["left of", "right of", "above", "below"]))
    several = int(rng.choice([1, 1, 1, 2]))
    clauses = {
        "single_object": [clause(one, several)],
        "two_object": [clause(one), clause(two, several)],
        "colors": [clause(one, several, **paint())],
        "position": [clause(one, **(paint() if rng.random() < 0.3 else {})), clause(two, position=[relation, 0])],
        "color_attr": [clause(one, **paint()), clause(two, several, **paint())],
    }[str(tag)]
    more = {"exclude": [clause(two, 2)]} if rng.random() < 0.1 else {}
    return include(*clauses, tag=str(tag), **more)


def random_picture(rng):
    number = int(rng.integers(0, 24 if rng.random() < 0.2 else 8))
    classes = CLASSES if rng.random() < 0.8 else CLASSES[:1]
    labels = rng.choice(classes, number)
    scores = rng.choice([0.2, 0.3, 0.31, 0.6, 0.9, 0.91, 0.97], number, p=[0.05, 0.05, 0.1, 0.1, 0.1, 0.2, 0.4])
    corners = rng.integers(0, 25, (number, 2))
    boxes = numpy.hstack([corners, corners + rng.integers(1, 9, (number, 2))]).astype(float)
    return labels, scores, boxes, rng.choice(PAINTS, number, p=[0.7, 0.2, 0.1])


def test_the_official_verdict_agrees_with_a_second_implementation():
    rng = numpy.random.default_rng(20)
    verdicts: dict[str, list[bool]] = {}
    for _ in range(10_000):
        spec = random_spec(rng)
        labels, scores, boxes, colors = picture = random_picture(rng)
        detections = [
            Detection(str(label), float(score), tuple(box.tolist()), color=str(color))
            for label, score, box, color in zip(*picture, strict=True)
        ]
        verdict = judge(detections, spec, color_of)
        assert verdict.correct == second_opinion(labels, scores, boxes, colors, spec), (spec, detections)
        assert verdict.correct == (verdict.reason == "")
        assert verdict.exclusive <= verdict.strict <= verdict.correct
        assert 0 <= verdict.score <= 1 and (verdict.score == 1) >= verdict.strict
        assert verdict.exclusive == (verdict.strict and verdict.extras == 0)
        verdicts.setdefault(spec["tag"], []).append(verdict.correct)
    assert len(verdicts) == 6
    for tag, results in verdicts.items():  # both verdicts were tried often on every tag
        assert 50 < sum(results) < len(results) - 50, (tag, sum(results), len(results))
