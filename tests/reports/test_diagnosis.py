"""When a run's gain became something else: from evaluations with given verdicts and pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy
import pytest
from evaluations import write_evaluation
from PIL import Image

from flowbench.errors import ConfigError, MissingFile, RunError
from flowbench.evals import evaluation, load_results
from flowbench.evals.evaluation import read_evaluation, read_records
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
    (made,) = courses(found, STEPS).courses
    return made


def always(official, value):
    return lambda tag, number, index: (official, value)


def test_a_gold_that_falls_while_the_headline_rises(tmp_path):
    """official 0, half, 1; value .5, .9, .2: the fall of .7 is from the best, not from the beginning."""
    half = lambda tag, number, index: (index, 0.9)  # noqa: E731
    made = course(tmp_path, always(0, 0.5), half, always(1, 0.2))
    (sign,) = made.signs()
    assert (sign.step, sign.name) == (20, "value")
    assert sign.sentence.startswith("value is worse by 0.700 [0.700, 0.700] than at step 10")
    assert sign.sentence.endswith("and official is not measurably worse than then")
    fall = next(each for each in made.falls(made.metrics) if each.metric == "value" and each.step == 20)
    assert fall.best == 10 and fall.paired.difference == pytest.approx(-0.7)


def test_a_headline_that_wavers_at_its_ceiling_hides_no_fall(tmp_path):
    """official 0, 1, and 1 but for one picture; value .5, .9, .1: it has fallen by .8 since step 10."""
    nearly = lambda tag, number, index: (0 if (number, index) == (0, 0) else 1, 0.1)  # noqa: E731
    made = course(tmp_path, always(0, 0.5), always(1, 0.9), nearly)
    (sign,) = made.signs()
    assert (sign.step, sign.name) == (20, "value") and "than at step 10, and official is not" in sign.sentence


def test_a_gold_counts_whatever_the_headline_does(tmp_path):
    """official 0, 1, half; value .5, .9, .2, asked for as the gold."""
    half = lambda tag, number, index: (index, 0.2)  # noqa: E731
    made = course(tmp_path, always(0, 0.5), always(1, 0.9), half)
    (sign,) = made.signs("value")
    assert (sign.step, sign.name) == (20, "value") and sign.sentence.endswith("than at step 10")


def test_what_falls_with_the_headline_is_not_held_against_the_gold(tmp_path):
    """official 0, 1, half; value .5, .9, .2: only the headline's own fall is a sign."""
    half = lambda tag, number, index: (index, 0.2)  # noqa: E731
    made = course(tmp_path, always(0, 0.5), always(1, 0.9), half)
    (sign,) = made.signs()
    assert (sign.step, sign.name) == (20, "official") and sign.sentence.endswith("than at step 10")


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
    """The base at two guidances: one course, with the one at the run's; what is left out is counted."""
    flat = always(1, 0.5)
    named = [("none", 3.0), ("none", 1.0), ("aaa", 1.0), ("aaa", 1.0), ("zzz", 1.0)]
    folders = [
        write_evaluation(tmp_path / str(number), flat, label=str(number), adapter=adapter, guidance=guidance)
        for number, (adapter, guidance) in enumerate(named)
    ]
    found = courses([load_results(folder) for folder in folders], STEPS)
    (made,) = found.courses
    assert [(point.step, point.results.label) for point in made.points] == [(0, "1"), (10, "3")]
    assert made.first.card.declared["guidance"] == 1.0
    assert found.left_out == {
        "of an adapter that is no checkpoint here (any more)": 1, "done again later": 1,
        "the only one under its settings": 1,
    }  # fmt: skip
    notes = " ".join(course_table(made, [], "run", found.left_out).notes)
    assert "Evaluations that are in no table: " in notes and "1 of an adapter that is no checkpoint here" in notes


def test_another_base_is_never_the_beginning(tmp_path):
    """Of the same name and settings, with other weights; and the same adapter on it."""
    folders = {}
    for number, (adapter, weights) in enumerate([("none", "w1"), ("none", "w2"), ("aaa", "w1"), ("bbb", "w2")]):
        folder = write_evaluation(tmp_path / str(number), always(1, 0.5), label=str(number), adapter=adapter)
        summary, records = read_evaluation(folder)
        card = replace(summary.card, subject={**summary.card.subject, "weights": weights})
        evaluation.write_evaluation(folder, replace(summary, card=card), records)
        folders[number] = load_results(folder)
    known = courses(list(folders.values()), STEPS, "w1")
    assert [[point.results.label for point in each.points] for each in known.courses] == [["0", "2"]]
    assert known.left_out == {"of another base model": 2}
    unknown = courses(list(folders.values()), STEPS)
    assert [[point.results.label for point in each.points] for each in unknown.courses] == [["0", "2"], ["1", "3"]]


def test_the_choice_of_the_best_is_paid_for(tmp_path):
    """The same fall on 6 of 30 prompts, after one point and after the best of nine."""

    def some(tag, number, index):
        return 1, 0.5 - 0.5 * (number < 2)

    found = [load_results(write_evaluation(tmp_path / "a", always(1, 0.5), adapter="a"))]
    found += [
        load_results(write_evaluation(tmp_path / f"b{step}", always(1, 0.5), label=str(step), adapter=f"b{step}"))
        for step in range(8)
    ]
    found.append(load_results(write_evaluation(tmp_path / "c", some, adapter="c")))
    steps = {"a": 0, **{f"b{step}": 1 + step for step in range(8)}, "c": 20}
    (short,) = courses([found[0], found[-1]], steps).courses
    (long,) = courses(found, steps).courses
    fall = [each for each in short.falls(short.metrics) if each.metric == "value"][-1]
    same = [each for each in long.falls(long.metrics) if each.metric == "value" and each.step == 20][-1]
    # two tests, and one point before; then 18 tests, and nine points before
    assert same.paired.difference == fall.paired.difference
    assert fall.p_holm == pytest.approx(2 * fall.paired.p) and fall.p_holm < 0.1
    assert 18 * same.paired.p < 1 and same.p_holm == 1


def test_prompts_without_all_their_pictures_are_not_looked_at(tmp_path):
    """A picture that could not be made: its prompt takes no part in the signals, and a note says so."""
    made = []
    for adapter in ("none", "aaa"):
        folder = write_evaluation(tmp_path / adapter, always(1, 0.5), label=adapter, adapter=adapter)
        boxes(folder, lambda row: row % 3)
        made.append(load_results(folder))
    lost = made[1].records[0]
    (made[1].folder / lost.image).unlink()
    made[1].records[0] = replace(lost, value=None)
    (found,) = courses(made, STEPS).courses
    assert (found.compared, len(found.points[1].look.values)) == (29, 29)
    assert found.moved[1]["placement"] == 0  # of the same pictures
    assert "look at 29 of 30 prompts" in " ".join(course_table(found, [], "run").notes)
    for folder in made:
        for record in folder.records:
            (folder.folder / record.image).unlink(missing_ok=True)
        folder.records[:] = [replace(record, value=None) for record in folder.records]
    (empty,) = courses(made, STEPS).courses
    assert empty.compared == 0 and numpy.isnan(list(empty.moved[1].values())).all()


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
    results.records[0] = replace(results.records[0], value=None)
    look_at(results)  # one that could not be made
    results.records[-1] = replace(results.records[-1], image_sha256="0" * 64)
    with pytest.raises(RunError, match="not the picture that was scored"):
        look_at(results)
