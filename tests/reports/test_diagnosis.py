"""When a run's gain became something else: from evaluations with given verdicts and pictures."""

from __future__ import annotations

import numpy
import pytest
from evaluations import write_evaluation
from PIL import Image

from flowbench.errors import ConfigError, MissingFile, RunError
from flowbench.evals import load_results
from flowbench.evals.evaluation import read_records
from flowbench.layout import EvaluationFolder
from flowbench.metrics.signals import PER_PROMPT
from flowbench.reports.diagnosis import courses, look_at
from flowbench.reports.tables.course import course_data, course_table
from flowbench.store import to_json

STEPS = {"none": 0, "aaa": 10, "bbb": 20}


def boxes(folder, place):
    """Pictures of a box each, at `place(row)`, 0 to 5, in place of the evaluation's flat ones."""
    for row, record in enumerate(read_records(EvaluationFolder(folder).records)):
        left = 4 * place(row)
        sheet = Image.new("RGB", (32, 32), (128, 128, 128))
        sheet.paste((255, 0, 0), (left + 4, 8, left + 12, 12))
        sheet.save(folder / record.image)


def course(tmp_path, *verdicts, place=lambda step, row: row % 3, **changes):
    """Evaluations after 0, 10 and 20 steps."""
    found = []
    for (adapter, step), verdict in zip(STEPS.items(), verdicts, strict=False):
        folder = write_evaluation(tmp_path / adapter, verdict, label=adapter, adapter=adapter, **changes)
        boxes(folder, lambda row, step=step: place(step, row))
        found.append(load_results(folder))
    (made,) = courses(found, STEPS)
    return made


def always(official, value):
    return lambda tag, number, index: (official, value)


def test_a_gold_that_falls_while_the_headline_rises(tmp_path):
    """official 0, half, 1; value .5, .9, .2: the fall of .7 is from the best, not from the beginning."""
    half = lambda tag, number, index: (index, 0.9)  # noqa: E731
    made = course(tmp_path, always(0, 0.5), half, always(1, 0.2))
    (sign,) = made.signs()
    assert (sign.step, sign.name) == (20, "value")
    assert "-0.700" in sign.sentence and "since step 10, while official has not fallen" in sign.sentence
    fall = next(each for each in made.falls(made.metrics) if each.metric == "value" and each.step == 20)
    assert fall.best == 10 and fall.paired.difference == pytest.approx(-0.7)


def test_what_falls_with_the_headline_is_not_held_against_the_gold(tmp_path):
    """official 0, 1, half; value .5, .9, .2: only the headline's own fall is a sign."""
    half = lambda tag, number, index: (index, 0.2)  # noqa: E731
    made = course(tmp_path, always(0, 0.5), always(1, 0.9), half)
    (sign,) = made.signs()
    assert (sign.step, sign.name) == (20, "official") and sign.sentence.endswith("since step 10")


def test_a_fall_that_chance_would_give_is_no_sign(tmp_path):
    """Of 30 prompts three lose, and two gain."""

    def some(tag, number, index):
        return 1, {0: 0.1, 1: 0.9}.get(number, 0.5) if tag != "counting" or number == 0 else 0.5

    made = course(tmp_path, always(0, 0.5), some)
    assert made.signs() == []
    assert "Nothing is amiss in these 2 evaluations" in " ".join(course_table(made, [], "run").notes)


def test_pictures_that_become_alike(tmp_path):
    """Each prompt's two boxes lie apart in the beginning of most; after 10 steps all lie in one place."""
    flat = always(1, 0.5)
    made = course(
        tmp_path, flat, flat, flat, place=lambda step, row: (3 * (row % 2) * (row % 5 > 0)) if step == 0 else 1
    )
    assert [(sign.step, sign.name) for sign in made.signs()] == [(10, "placement")]
    table = course_table(made, made.signs(), "run")
    column = table.header.index("placement")
    assert {(1, column), (2, column)} <= table.bold and not any(row == 0 for row, _ in table.bold)
    assert "step 10: pictures of one prompt are alike" in " ".join(table.notes)
    assert to_json(course_data(made, made.signs()))


def test_one_evaluation_beyond_a_line_is_none_unless_it_is_the_last(tmp_path):
    def place(alike):
        return lambda step, row: 1 if step == alike else 3 * (row % 2) * (row % 5 > 0)

    flat = always(1, 0.5)
    assert course(tmp_path / "a", flat, flat, flat, place=place(10)).signs() == []
    assert [sign.step for sign in course(tmp_path / "b", flat, flat, flat, place=place(20)).signs()] == [20]


def test_the_gold_can_be_named(tmp_path):
    made = course(tmp_path, always(0, 0.5), always(1, 0.2))
    assert [sign.name for sign in made.signs("value")] == ["value"]
    assert made.signs("official") == []
    with pytest.raises(ConfigError, match=r"--gold valu: .*Did you mean 'value'"):
        made.signs("valu")


def test_only_evaluations_of_equal_settings_stand_together(tmp_path):
    """The base at two guidances: one course, with the one at the run's."""
    flat = always(1, 0.5)
    folders = [
        write_evaluation(tmp_path / str(number), flat, adapter=adapter, guidance=guidance)
        for number, (adapter, guidance) in enumerate([("none", 3.0), ("none", 1.0), ("aaa", 1.0), ("zzz", 1.0)])
    ]
    (made,) = courses([load_results(folder) for folder in folders], STEPS)
    assert [point.step for point in made.points] == [0, 10]
    assert made.first.card.declared["guidance"] == 1.0


def test_a_single_picture_of_a_prompt_has_no_placement(tmp_path):
    made = course(tmp_path, always(0, 0.5), always(1, 0.5), images=1)
    assert numpy.isnan(made.moved[1]["placement"])
    assert not numpy.isnan(made.points[1].look.values[:, PER_PROMPT.index("edges")]).any()


def test_pictures_that_are_gone_or_others(tmp_path):
    results = load_results(write_evaluation(tmp_path, lambda *_: 1))
    look_at(results)
    (tmp_path / results.records[0].image).unlink()
    with pytest.raises(MissingFile, match=r"is gone\. Evaluate again"):
        look_at(results)
    results.records[0] = results.records[0].__class__(**{**results.records[0].__dict__, "value": None})
    look_at(results)  # one that could not be made
    last = results.records[-1]
    results.records[-1] = last.__class__(**{**last.__dict__, "image_sha256": "0" * 64})
    with pytest.raises(RunError, match="not the picture that was scored"):
        look_at(results)
