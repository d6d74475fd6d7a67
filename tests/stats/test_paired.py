"""Paired comparison: hand cases, exact permutation distributions, size and coverage."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy
import pytest
import scipy.stats

from flowbench.errors import ConfigError
from flowbench.evals import draws_for, holm, interval, paired_table, paired_test, win_rate

NAN = math.nan


def clustered_pair(rng, prompts=240, images=4, lift=0.0):
    """Zeros and ones of two models that find the same prompts hard; b succeeds more often by `lift`, if at all."""
    rate = rng.beta(1.0, 1.0, size=(prompts, 1))
    a = rng.random((prompts, images)) < rate * (1 - lift)
    b = rng.random((prompts, images)) < rate * (1 - lift) + lift
    return a.astype(float).ravel(), b.astype(float).ravel()


def test_difference_by_hand():
    a, b = [1, 1, 0, 1, 0], [0, 1, 0, 0, 1]
    assert paired_test(a, b, list("ppqrr")).difference == pytest.approx(0.2)
    tagged = paired_test(a, b, list("ppqrr"), list("xxxyy"))
    assert tagged.difference == pytest.approx((1 / 3 + 0) / 2)
    assert (tagged.prompts, tagged.count, tagged.unscored) == (3, 5, 0)


def test_a_pair_with_nan_on_either_side_is_left_out_and_counted():
    result = paired_test([1.0, NAN, 1.0, 0.0], [0.0, 1.0, NAN, 0.0], list("pqrs"))
    assert result.difference == 0.5
    assert (result.prompts, result.count, result.unscored) == (2, 2, 2)


def test_interval_is_that_of_the_differences():
    rng = numpy.random.default_rng(0)
    a, b, ids = rng.random(200), rng.random(200), numpy.arange(200) // 4
    tags = numpy.where(ids < 20, "x", "y")
    expected = interval(a - b, ids, tags, seed=3, method="percentile")
    actual = paired_test(a, b, ids, tags, seed=3)
    assert (actual.difference, actual.low, actual.high) == (expected.mean, expected.low, expected.high)


def test_equal_models_have_p_one():
    values = [0.0, 1.0] * 30
    result = paired_test(values, values, range(60))
    assert (result.difference, result.low, result.high, result.p) == (0.0, 0.0, 0.0, 1.0)


def test_p_is_never_zero():
    """All 60 prompts better: no random flip reaches that, p = (0 + 1) / (draws + 1)."""
    assert paired_test([1.0] * 60, [0.0] * 60, range(60)).p == 1 / 2001
    assert paired_test([1.0] * 60, [0.0] * 60, range(60), draws=99).p == 1 / 100


def test_p_agrees_with_the_exact_permutation_distribution():
    """Ten prompts, 1,024 sign patterns, by scipy; no interval with so few, but p is valid."""
    rng = numpy.random.default_rng(4)
    a, b = rng.normal(0.45, 1, size=10), rng.normal(0, 1, size=10)
    exact = scipy.stats.permutation_test(
        (a, b), lambda x, y: numpy.mean(x - y), permutation_type="samples", n_resamples=numpy.inf
    ).pvalue
    ours = paired_test(a, b, range(10), draws=20_000)
    assert 0.02 < exact < 0.9
    assert ours.p == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000) + 1e-4)
    assert math.isnan(ours.low) and math.isnan(ours.high)


def test_ties_count_as_extreme_by_hand():
    """Three prompts of equal difference .1: 2 of the 8 sign patterns reach it, so p is 1/4 despite rounding."""
    result = paired_test([0.3, 0.3, 0.3], [0.2, 0.2, 0.2], range(3), draws=20_000)
    assert result.p == pytest.approx(0.25, abs=0.015)


def test_the_prompt_is_the_unit_of_the_test():
    """Images that copy one another add no evidence; flipped one by one they would make p tiny."""
    rng = numpy.random.default_rng(1)
    a, b = rng.random(30), rng.random(30)
    once = paired_test(a, b, range(30))
    copied = paired_test(numpy.repeat(a, 16), numpy.repeat(b, 16), numpy.repeat(range(30), 16))
    assert copied.p == once.p
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_swapping_the_models_changes_the_sign_only():
    a, b = clustered_pair(numpy.random.default_rng(2), lift=0.05)
    ids = numpy.arange(960) // 4
    forth, back = paired_test(a, b, ids), paired_test(b, a, ids)
    assert back.difference == -forth.difference and back.p == forth.p
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low), abs=0.005)


def test_row_order_does_not_matter_and_seeds_do():
    rng = numpy.random.default_rng(2)
    a, b = clustered_pair(rng, lift=0.03)
    ids = numpy.arange(960) // 4
    tags = numpy.where(ids < 100, "x", "y")
    expected = paired_test(a, b, ids, tags)
    order = rng.permutation(960)
    assert paired_test(a[order], b[order], ids[order], tags[order]) == expected
    assert paired_test(a, b, ids, tags, seed=1).p != expected.p


def test_pairing_sees_what_two_intervals_do_not():
    a, b = clustered_pair(numpy.random.default_rng(3), prompts=553, lift=0.04)
    ids = numpy.arange(553 * 4) // 4
    assert interval(a, ids).high > interval(b, ids).low  # they overlap
    result = paired_test(a, b, ids)
    assert result.high < 0 and result.p < 0.01


def test_errors():
    with pytest.raises(ConfigError, match="one of each per image"):
        paired_test([1.0, 2.0], [1.0], ["p", "q"])
    with pytest.raises(ConfigError, match="say whether 'higher' or 'lower'"):
        win_rate([1.0], [1.0], ["p"], direction="none")
    with pytest.raises(ConfigError, match="infinite"):
        paired_test([1.0, math.inf], [1.0, 1.0], ["p", "q"])


def test_published_comparisons_stay_what_they_were():
    """From the first implementation: a number in someone's table must not move."""
    generator = numpy.random.default_rng(20)
    a, b = generator.random(400).round(3), generator.random(400).round(3)
    ids = numpy.arange(400) // 4
    plain, tagged = paired_test(a, b, ids), paired_test(a, b, ids, numpy.where(ids < 30, "x", "y"))
    assert (plain.p, tagged.p) == (0.7681159420289855, 0.3308345827086457)
    assert (plain.low, plain.high) == pytest.approx((-0.046174676017380865, 0.03896490398208233), abs=1e-12)
    assert (tagged.low, tagged.high) == pytest.approx((-0.06316193022299464, 0.019508832867657932), abs=1e-12)


def test_a_table_holds_what_each_pair_has_alone():
    """Also where other prompts are unscored, and where a tag has no pair left."""
    rng = numpy.random.default_rng(6)
    ids, tags = numpy.arange(200) // 4, numpy.repeat(["x", "y"], 100)
    pairs = {name: (rng.random(200), rng.random(200)) for name in "abc"}
    pairs["b"][0][:4] = NAN
    pairs["c"][1][tags == "x"] = NAN
    table = paired_table(pairs, ids, tags, seed=3)
    for name, (a, b) in pairs.items():
        alone = paired_test(a, b, ids, tags, seed=3)
        assert astuple(table[name]) == pytest.approx(astuple(alone), abs=1e-12, nan_ok=True)
    assert table["a"].prompts == 50 and table["b"].prompts == 49 and math.isnan(table["c"].p)


def test_interval_method_is_handed_on():
    rng = numpy.random.default_rng(0)
    a, b, ids = rng.random(200), rng.random(200), numpy.arange(200) // 4
    found = paired_test(a, b, ids, method="analytic")
    expected = interval(a - b, ids, method="analytic")
    assert (found.low, found.high) == (expected.low, expected.high)


def test_a_difference_has_no_interval_of_shares():
    with pytest.raises(ConfigError, match="'wilson' is for shares, not differences: give percentile, bca or analytic"):
        paired_test([1.0] * 40, [0.0] * 40, range(40), method="wilson")


def test_detectable_difference_by_hand():
    """Forty prompts with a picture each, differences +1 and -1 in turn: their standard deviation is sqrt(40 / 39)."""
    error = math.sqrt(40 / 39) / math.sqrt(40)
    expected = (scipy.stats.t.ppf(0.975, 39) + scipy.stats.t.ppf(0.8, 39)) * error
    assert paired_test([1.0, 0.0] * 20, [0.0, 1.0] * 20, range(40)).detectable == pytest.approx(expected)


def test_detectable_difference_falls_with_the_root_of_the_prompts():
    rng = numpy.random.default_rng(0)
    a, b = rng.random(1000), rng.random(1000)
    once = paired_test(a, b, range(1000)).detectable
    # the same again, as other prompts: a quarter of the variance, but for the degrees of freedom
    fourfold = paired_test(numpy.tile(a, 4), numpy.tile(b, 4), range(4000)).detectable
    assert fourfold == pytest.approx(once / 2, rel=0.002)


def test_nothing_is_detectable_without_prompts_or_spread():
    rng = numpy.random.default_rng(0)
    assert math.isnan(paired_test(rng.random(19), rng.random(19), range(19)).detectable)
    assert math.isnan(paired_test([1.0] * 60, [0.0] * 60, range(60)).detectable)


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_rounding_is_no_spread(scale):
    """A constant gain of a tenth leaves differences that are a tenth but for their last digits."""
    b = scale * numpy.random.default_rng(3).random(240)
    a = b + 0.1 * scale
    assert len(set(a - b)) > 1
    found = paired_test(a, b, numpy.arange(240) // 4)
    assert found.difference == pytest.approx(0.1 * scale) and math.isnan(found.detectable)
    assert paired_test(a, b * (1 + 1e-9), numpy.arange(240) // 4).detectable > 0


def test_win_rate_by_hand():
    """Two wins, a tie, a loss and one unscored: 2.5 of 4; by tag 1.5 of 2 and 1 of 2."""
    a, b = [1.0, 0.5, 0.2, 0.9, NAN], [0.0, 0.5, 0.1, 1.0, 0.0]
    found = win_rate(a, b, range(5))
    assert (found.rate, found.wins, found.ties, found.losses, found.unscored) == (0.625, 2, 1, 1, 1)
    assert math.isnan(found.low) and math.isnan(found.high)
    assert win_rate(a, b, range(5), list("xxxyy")).rate == pytest.approx((2.5 / 3 + 0) / 2)
    assert win_rate(a, b, range(5), direction="lower").rate == 0.375


def test_win_rates_of_both_sides_add_up_to_one():
    rng = numpy.random.default_rng(0)
    a, b = rng.integers(3, size=(2, 400))
    ids, tags = numpy.arange(400) // 4, numpy.arange(400) // 200
    forth, back = win_rate(a, b, ids, tags), win_rate(b, a, ids, tags)
    assert forth.rate + back.rate == pytest.approx(1)
    assert (forth.wins, forth.ties, forth.losses) == (back.losses, back.ties, back.wins)
    assert forth.wins + forth.ties + forth.losses == 400
    assert back.low == pytest.approx(1 - forth.high, abs=0.1 * (forth.high - forth.low))
    assert 0 < forth.low < forth.rate < forth.high < 1


def test_win_rate_interval_is_that_of_the_outcomes():
    rng = numpy.random.default_rng(1)
    a, b = rng.integers(2, size=(2, 400)).astype(float)
    ids = numpy.arange(400) // 4
    expected = interval(numpy.where(a > b, 1, numpy.where(a == b, 0.5, 0)), ids)
    found = win_rate(a, b, ids)
    assert (found.rate, found.low, found.high) == (expected.mean, expected.low, expected.high)


def test_holm_by_hand():
    """.01 x 4; .02 x 3 = .06; .03 x 2 = .06; .5."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == [] and holm([0.04]) == [0.04]


def test_holm_agrees_with_statsmodels():
    """multipletests(method="holm") of statsmodels 0.14."""
    expected = [0.05, 0.12, 0.12, 0.03, 0.5, 0.12]
    assert holm([0.01, 0.04, 0.03, 0.005, 0.5, 0.0499]) == pytest.approx(expected)


def test_holm_does_not_count_what_was_not_tested():
    adjusted = holm([0.01, NAN, 0.04, NAN])
    assert adjusted[0] == 0.02 and adjusted[2] == 0.04
    assert math.isnan(adjusted[1]) and math.isnan(adjusted[3])
    assert all(math.isnan(p) for p in holm([NAN, NAN]))


def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni():
    p_values = numpy.random.default_rng(0).random(30) ** 3
    adjusted = numpy.array(holm(p_values))
    assert (numpy.diff(adjusted[numpy.argsort(p_values)]) >= 0).all()
    assert (p_values <= adjusted).all() and (adjusted <= numpy.minimum(30 * p_values, 1)).all()


@pytest.mark.parametrize("wrong", [-0.1, 1.5])
def test_holm_refuses_what_is_no_p_value(wrong):
    with pytest.raises(ConfigError, match=f"p value {wrong}: a p value lies between 0 and 1"):
        holm([0.5, wrong])


@pytest.mark.parametrize("tests", [0, 1, 10, 45, 435])
def test_draws_for_leaves_holm_room(tests):
    draws = draws_for(tests)
    assert draws >= 2000
    smallest = holm([1 / (draws + 1)] * tests)
    assert all(p <= 0.005 for p in smallest)


@pytest.mark.slow
def test_size_and_coverage_on_prompts_of_every_difficulty():
    """Of two equal models, 5% of comparisons call one better; the interval misses 0 as often."""
    rng = numpy.random.default_rng(11)
    ids = numpy.arange(960) // 4
    tags = numpy.where(ids < 100, "x", "y")
    results = []
    for seed in range(40):
        pairs = {str(place): clustered_pair(rng) for place in range(100)}
        results += paired_table(pairs, ids, tags, seed=seed).values()
    assert 0.04 <= sum(result.p <= 0.05 for result in results) / 4000 <= 0.06
    assert 0.93 <= sum(result.low <= 0 <= result.high for result in results) / 4000 <= 0.97
