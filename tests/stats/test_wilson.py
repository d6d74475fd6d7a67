"""Wilson's interval with clustered prompts, the default: by hand, scipy, invariances, coverage in small suites."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy
import pytest
import scipy.stats

from flowbench.evals import interval, interval_table, win_rate

ROOT = Path(__file__).parents[2]
IDS = numpy.arange(80) // 4


def suite(right_of_each):
    """Verdicts of prompts with four pictures, so many of them right."""
    return [1.0 if place < right else 0.0 for right in right_of_each for place in range(4)]


def test_by_hand():
    """Twenty prompts, ten all right, six with two of four, four all wrong. With sums over prompts:
    mean = 52/80 = .65; residuals^2 = 10 x .35^2 + 6 x .15^2 + 4 x .65^2 = 3.05; variance = 3.05 / 380; of copies
    .65 x .35 / 19. Not all right are 10 prompts, not all wrong 16; t of 380 degrees of freedom is 1.966226."""
    found = interval(suite([4] * 10 + [2] * 6 + [0] * 4), IDS)
    assert (found.mean, found.method, found.draws) == (0.65, "wilson", 0)
    for bound, telling in ((found.low, 10), (found.high, 16)):
        variance = (telling * 3.05 / 380 + 0.2 * 0.65 * 0.35 / 19) / (telling + 0.2)
        n = 0.65 * 0.35 / variance
        assert (0.65 - bound) ** 2 == pytest.approx(1.966226**2 * bound * (1 - bound) / n, rel=1e-5)
    assert found.low < 0.65 < found.high


@pytest.mark.parametrize("right", [0, 1, 17, 300, 599, 600])
def test_independent_verdicts_have_the_textbook_interval(right):
    """One picture a prompt: the variance is that of copies, and the interval scipy's, but for n - 1 in place of n."""
    found = interval([1.0] * right + [0.0] * (600 - right), range(600))
    theirs = scipy.stats.binomtest(right, 600).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.002 * (theirs.high - theirs.low))


def test_certainty_is_never_claimed_of_verdicts():
    """All right, 20 prompts say as much as 20 independent pictures, whatever the pictures of each."""
    right, wrong = interval([1.0] * 80, IDS), interval([0.0] * 80, IDS)
    square = scipy.stats.t.ppf(0.975, 380) ** 2
    assert (right.mean, right.high, wrong.low) == (1.0, 1.0, 0.0)
    assert right.low == pytest.approx(20 / (20 + square)) and wrong.high == pytest.approx(1 - right.low)
    tagged = interval([1.0] * 80, IDS, numpy.repeat(list("abcde"), 16))
    assert 0.8 < tagged.low < right.low and tagged.high == 1.0
    mixed = interval([1.0] * 40 + [0.0] * 40, IDS, numpy.repeat(["x", "y"], 40))
    assert mixed.low < 0.4 and mixed.high > 0.6  # each tag is of one mind; that is no certainty either
    assert win_rate([1.0] * 80, [0.0] * 80, IDS).low == pytest.approx(right.low)


def test_other_values_without_spread_have_no_doubt_to_show():
    for value, method in ((0.3, "wilson"), (3.0, "analytic")):
        found = interval([value] * 80, IDS)
        assert found.low == found.high == found.mean == pytest.approx(value) and found.method == method


def test_one_failing_picture_is_not_taken_for_independent_of_all_others():
    """79 of 80 right: as independent pictures they would say [.933, .998]."""
    found = interval(suite([4] * 19 + [3]), IDS)
    assert found.low < 0.92 and 0.99 < found.high < 1


def test_turned_values_turn_the_interval():
    values = numpy.array(suite([4] * 30 + [3, 2, 1, 1, 0, 0, 4, 4, 2, 3]))
    ids, tags = numpy.arange(160) // 4, numpy.repeat(["x", "y"], 80)
    for strata in (None, tags):
        up, down = interval(values, ids, strata), interval(1 - values, ids, strata)
        assert (1 - down.high, 1 - down.low) == pytest.approx((up.low, up.high), abs=1e-12)


def test_order_names_and_unscored_values_do_not_matter():
    rng = numpy.random.default_rng(0)
    values, ids = (rng.random(160) < 0.8).astype(float), numpy.arange(160) // 4
    tags = numpy.repeat(["x", "y"], 80)
    expected, order = interval(values, ids, tags), rng.permutation(160)
    assert interval(values[order], ids[order], tags[order]) == expected
    renamed = interval(values, 99 - ids, numpy.where(tags == "x", "z", "a"))
    assert (renamed.low, renamed.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    holes = interval([*values, math.nan, math.nan], [*ids, 0, 70], [*tags, "x", "y"])
    assert (holes.low, holes.high, holes.unscored) == (expected.low, expected.high, 2)
    assert interval(values, ids, tags, seed=3, draws=7) == expected


def test_copies_of_a_picture_add_no_certainty():
    values = (numpy.random.default_rng(1).random(40) < 0.9).astype(float)
    once, fourfold = interval(values, range(40)), interval(numpy.repeat(values, 4), numpy.repeat(range(40), 4))
    assert (fourfold.low, fourfold.high) == pytest.approx((once.low, once.high), abs=1e-12)


def test_far_from_the_ends_it_is_students():
    """Scores of .5 with a standard deviation of .02: no end is felt."""
    values = numpy.random.default_rng(2).normal(0.5, 0.02, size=400)
    ids = numpy.arange(400) // 4
    ours, students = interval(values, ids), interval(values, ids, method="analytic")
    assert (ours.low, ours.high) == pytest.approx((students.low, students.high), abs=0.03 * (ours.high - ours.low))


def test_what_lies_outside_has_students_and_says_so():
    rng = numpy.random.default_rng(3)
    columns = {"share": rng.random(80), "other": rng.normal(size=80)}
    table = interval_table(columns, IDS)
    assert [table[name].method for name in columns] == ["wilson", "analytic"]
    assert table["other"] == interval(columns["other"], IDS, method="analytic")
    assert interval_table(columns, IDS, method="bca")["share"].method == "bca"


@pytest.fixture(scope="module")
def coverage():
    spec = importlib.util.spec_from_file_location("flowbench_bench_coverage", ROOT / "bench" / "coverage.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    module.DESIGNS["two like tags"] = (0.0, 0.0)
    return module


@pytest.mark.parametrize("correlation", [0.0, 0.2, 0.8, 1.0, -0.5])
def test_drawn_prompts_have_the_rate_and_the_correlation_that_are_said(coverage, correlation):
    chances, number = coverage.right_pictures(0.9, correlation), numpy.arange(5)
    mean = chances @ number
    assert (chances.sum(), mean / 4) == pytest.approx((1, 0.9))
    spread = chances @ number**2 - mean**2
    assert (spread / (4 * 0.09) - 1) / 3 == pytest.approx(abs(correlation))


@pytest.mark.parametrize("design", ["one tag", "two like tags", "six like tags", "six unlike tags"])
def test_bench_computes_what_interval_does(coverage, design):
    suites = coverage.Suites.draw(20, design, 0.9, 0.6, 40, numpy.random.default_rng(0))
    expected = coverage.by_method(suites, "wilson", 40)
    assert numpy.array(coverage.wilson(suites.counts)) == pytest.approx(numpy.array(expected), abs=1e-9)


@pytest.mark.parametrize(
    ("prompts", "design", "level"),
    [
        (40, "one tag", 0.9),
        (40, "two like tags", 0.9),
        (20, "one tag", 0.6),
        (20, "six unlike tags", 0.7),
        (200, "one tag", 0.97),
    ],
)
def test_small_suites_are_covered(coverage, prompts, design, level):
    """94 to 96 % on average over correlations; each mean of 6 x 4,000 has a standard error of .14 points, and single
    levels lie up to 1 point off their band's mean, since verdicts can take few values."""
    inside = []
    for row, correlation in enumerate(coverage.CORRELATIONS):
        generator = numpy.random.default_rng([prompts, row])
        suites = coverage.Suites.draw(prompts, design, level, correlation, 4000, generator)
        inside.append(100 - sum(coverage.misses(coverage.wilson(suites.counts), level)[:2]))
    assert 93.5 <= numpy.mean(inside) <= 96.5
    assert min(inside) >= 91


def test_the_percentile_bootstrap_misses_there(coverage):
    """Why it is the default no longer: 40 prompts at .9, correlation .5; .4 points of standard error."""
    suites = coverage.Suites.draw(40, "one tag", 0.9, -0.5, 3000, numpy.random.default_rng(0))
    below, above, _ = coverage.misses(coverage.by_method(suites, "percentile", 600), 0.9)
    assert above > 3 * below
    ours = coverage.misses(coverage.wilson(suites.counts), 0.9)
    assert 93 <= 100 - ours[0] - ours[1] <= 96.5
