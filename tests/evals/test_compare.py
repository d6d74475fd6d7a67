"""Paired comparison: hand cases, exact permutation distributions, size and coverage."""

from __future__ import annotations

import math

import numpy
import pytest
import scipy.stats

from flowbench.errors import ConfigError
from flowbench.evals import interval, paired_test

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
    expected = interval(a - b, ids, tags, seed=3)
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
    with pytest.raises(ConfigError, match="infinite"):
        paired_test([1.0, math.inf], [1.0, 1.0], ["p", "q"])


@pytest.mark.slow
def test_size_and_coverage_of_the_paired_test():
    """Of two equal models, 5% of comparisons call one better; the interval misses 0 as often."""
    rng = numpy.random.default_rng(11)
    ids = numpy.arange(960) // 4
    tags = numpy.where(ids < 100, "x", "y")
    results = [paired_test(*clustered_pair(rng), ids, tags, draws=399, seed=seed) for seed in range(4000)]
    assert 0.04 <= sum(result.p <= 0.05 for result in results) / 4000 <= 0.06
    assert 0.93 <= sum(result.low <= 0 <= result.high for result in results) / 4000 <= 0.97
