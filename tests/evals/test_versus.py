"""Two evaluations side by side: directions, Holm's correction over the table, scorers that differ."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from evaluations import TAGS, write_evaluation
from several_scorers import change, describe, write_suite

from flowbench import store
from flowbench.errors import CardMismatch
from flowbench.evals.facts import other_scorer
from flowbench.evals.results import load_results
from flowbench.evals.versus import compare_evaluations, compare_results, to_records
from flowbench.reports import tables
from flowbench.stats.paired import holm


def _sharp(number, index):
    return number % 7


def _sharper(number, index):
    return number % 7 + 1


def _calm(number, index):
    return number % 5


@pytest.fixture
def pair(tmp_path):
    """The second is one point sharper on every picture and exactly as calm."""
    one = write_suite(tmp_path / "one", {"sharp": _sharp, "calm": _calm}, label="one")
    two = write_suite(tmp_path / "two", {"sharp": _sharper, "calm": _calm}, label="two", adapter="f00")
    return one, two


def test_each_line_says_what_the_test_found(pair):
    versus = compare_evaluations(load_results(pair[1]), load_results(pair[0]))
    assert [(line.facts.metric, line.tag, line.verdict) for line in versus.lines] == [
        ("sharp", None, "better"), ("calm", None, "unclear"),
    ]  # fmt: skip
    sharp, calm = versus.lines
    assert sharp.paired.difference == pytest.approx(1.0)
    # every prompt differs by the same 1: of 2,000 sign flips none reaches it, and two tests double p
    assert (sharp.paired.p, sharp.p_holm) == pytest.approx((1 / 2001, 2 / 2001))
    assert (calm.paired.p, calm.p_holm) == (1.0, 1.0)
    assert versus.wins.rate == 1.0 and (versus.wins.wins, versus.wins.ties, versus.wins.losses) == (50, 0, 0)


@pytest.mark.parametrize(
    ("direction", "verdict", "rate"), [("higher", "better", 1.0), ("lower", "worse", 0.0), ("none", "", None)]
)
def test_the_direction_decides_what_better_is(pair, direction, verdict, rate):
    for folder in pair:
        describe(folder, {"sharp": ("points", direction, "picture")})
    versus = compare_evaluations(load_results(pair[1]), load_results(pair[0]))
    assert versus.lines[0].verdict == verdict
    assert (versus.wins.rate if versus.wins else None) == rate
    table = tables.comparison_table(versus)
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert (
        row["metric"]
        == {"higher": "sharp ↑ (points)", "lower": "sharp ↓ (points)", "none": "sharp (points)"}[direction]
    )
    assert (row["p"] == "–") is (direction == "none")
    assert row["difference"].startswith("+1.000")
    assert ("Win rate" in " ".join(table.notes)) is (direction != "none")
    # what only describes is no test, so nothing is adjusted for it
    assert versus.lines[1].p_holm == 1.0
    assert (versus.lines[0].p_holm != versus.lines[0].p_holm) is (direction == "none")  # NaN


def test_p_is_adjusted_over_the_whole_table(tmp_path):
    weak = load_results(
        write_evaluation(tmp_path / "weak", lambda tag, number, index: int(number % 4 == 0), label="weak")
    )
    strong = write_evaluation(
        tmp_path / "strong", lambda tag, number, index: int(number % 3 == 0), label="s", adapter="f00"
    )
    versus = compare_evaluations(load_results(strong), weak)
    assert [(line.facts.metric, line.tag) for line in versus.lines] == [
        (metric, tag) for metric in ("official", "value") for tag in (None, *TAGS)
    ]
    p_values = [line.paired.p for line in versus.lines]
    overall = [line.paired.p for line in versus.lines if line.tag is None]
    of_tags = [line.paired.p for line in versus.lines if line.tag is not None]
    assert [line.p_holm for line in versus.lines if line.tag is None] == holm(overall)
    assert [line.p_holm for line in versus.lines if line.tag is not None] == holm(of_tags)
    assert versus.lines[0].p_holm == pytest.approx(min(1, 2 * p_values[0]))
    direct = compare_results(load_results(strong), weak)  # the same numbers wherever they are asked for
    assert versus.lines[0].paired == direct


def test_a_metric_by_another_scorer_is_refused_by_name_and_the_others_go_on(tmp_path, pair):
    folder = write_suite(tmp_path / "new", {"sharp": _sharper, "calm": _calm}, label="new", weights={"calm": "new"})
    versus = compare_evaluations(load_results(folder), load_results(pair[0]))
    assert [line.facts.metric for line in versus.lines] == ["sharp"]
    assert versus.refused == (("calm", "weights: ['new'] and ['old']"),)
    notes = " ".join(tables.comparison_table(versus).notes)
    assert "calm: not compared, it was scored by others in each (weights: ['new'] and ['old'])." in notes
    refused = to_records(versus)[-1]
    assert (refused["metric"], refused["paired"], refused["refused"]) == ("calm", None, "weights: ['new'] and ['old']")
    with pytest.raises(CardMismatch, match=r"'new' and 'one' cannot be compared: metric 'calm' was scored by others"):
        compare_evaluations(load_results(folder), load_results(pair[0]), ["calm"])


def test_what_only_one_of_them_has_is_named(tmp_path, pair):
    folder = write_suite(tmp_path / "calm", {"calm": _calm}, label="calm", not_run={"sharp": "no weights here."})
    versus = compare_evaluations(load_results(folder), load_results(pair[0]))
    assert versus.missing == ("sharp",)
    notes = tables.comparison_table(versus).notes
    assert "Measured in only one of them: sharp." in notes
    assert "calm: sharp did not run: no weights here." in notes
    nothing = write_suite(tmp_path / "other", {"loud": _calm}, label="other")
    with pytest.raises(CardMismatch, match="no metric is measured in both"):
        compare_evaluations(load_results(nothing), load_results(pair[0]))


def test_settings_are_refused_by_name_and_marked_when_allowed(tmp_path, pair):
    hasty = load_results(write_suite(tmp_path / "hasty", {"sharp": _sharp, "calm": _calm}, label="hasty", steps=5))
    with pytest.raises(CardMismatch, match=r"steps: 5 and 20.*--allow-mismatch"):
        compare_evaluations(hasty, load_results(pair[0]))
    versus = compare_evaluations(hasty, load_results(pair[0]), allow_mismatch=True)
    assert versus.differs == ("steps: 5 and 20",)
    assert "Settings differ (candidate and baseline): steps: 5 and 20." in tables.comparison_table(versus).notes


def test_of_two_suites_the_suite_is_named_and_not_what_follows_from_it(tmp_path, pair):
    other = write_evaluation(tmp_path / "other", lambda *at: 1, suite="another")
    change(other, lambda summary: summary["card"]["must_agree"].update(images_per_prompt=1))
    with pytest.raises(CardMismatch, match=r"they differ in suite: \w+ and another\. Evaluate"):
        compare_evaluations(load_results(pair[0]), load_results(other))


def test_csv_and_json_hold_every_bound_at_full_precision(pair):
    versus = compare_evaluations(load_results(pair[1]), load_results(pair[0]))
    written = list(csv.DictReader(io.StringIO(tables.to_csv(tables.comparison_table(versus)))))
    data = json.loads(store.to_json(to_records(versus)))
    for line, row, real in zip(written, data, versus.lines, strict=True):
        assert float(line["baseline"]) == row["baseline"] == real.baseline
        assert float(line["difference low"]) == row["paired"]["low"] == real.paired.low
        assert float(line["p Holm"]) == row["p_holm"] == real.p_holm
    assert data[0]["win_rate"]["wins"] == 50 and data[1]["win_rate"] is None


def test_unscored_everywhere_is_a_dash_and_no_test(tmp_path):
    """A metric that was never scored has no p; it neither stops the table nor counts in it."""
    nothing = {"sharp": _sharp, "calm": lambda number, index: None}
    one, two = (load_results(write_suite(tmp_path / name, nothing, label=name)) for name in ("one", "two"))
    versus = compare_evaluations(two, one)
    assert math.isnan(versus.lines[1].p_holm) and versus.lines[1].verdict == ""
    assert tables.comparison_table(versus).rows[1][1:] == ("–",) * 7


def test_scorers_are_told_apart_by_all_that_decides_their_numbers(tmp_path):
    one, two = (load_results(write_evaluation(tmp_path / name, lambda *at: 1)) for name in ("one", "two"))
    assert other_scorer(one, two, "official") == ""
    two.card.scorers["painting"]["options"] = {"extra_price": 0.4}
    assert other_scorer(one, two, "official") == "options: none and {'extra_price': 0.4}"


def test_a_comparison_says_what_its_intervals_are(pair):
    versus = compare_evaluations(load_results(pair[1]), load_results(pair[0]))
    table = tables.comparison_table(versus)
    words = "95 % interval over prompts (percentile bootstrap of 2,000 draws)"
    assert f"paired by prompt and seed, with its {words}. p Holm" in table.notes[0]
    assert {row["interval"] for row in table.data} == {words}
    paired = json.loads(store.to_json(to_records(versus)))[0]["paired"]
    assert (paired["method"], paired["confidence"], paired["draws"], paired["flips"]) == (
        "percentile",
        0.95,
        2000,
        2000,
    )


def test_the_same_test_under_two_names_is_corrected_for_once(tmp_path):
    """Two metrics with equal values on every picture are one hypothesis: p stays p, as it is with one of them alone."""
    a = write_suite(tmp_path / "a", {"one": _sharper, "other": _sharper})
    b = write_suite(tmp_path / "b", {"one": _sharp, "other": _sharp})
    both = compare_evaluations(load_results(a), load_results(b))
    alone = compare_evaluations(load_results(a), load_results(b), ["one"])
    assert [line.p_holm for line in both.lines] == [alone.lines[0].paired.p] * 2
