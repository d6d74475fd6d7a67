"""Clustered standard errors: by hand, statsmodels, scipy, the published closed form."""

from __future__ import annotations

import math

import numpy
import pytest
import scipy.stats

from flowbench.errors import ConfigError
from flowbench.evals import interval, standard_error
from flowbench.stats.analytic import error_and_freedom
from flowbench.stats.clusters import Design

SIZES = (80, 99, 80, 94, 100, 100)  # GenEval's tags


def test_one_picture_per_prompt_is_the_textbook_error():
    values = numpy.random.default_rng(0).random(50)
    assert standard_error(values, range(50)) == pytest.approx(values.std(ddof=1) / math.sqrt(50))


def test_copies_of_a_picture_add_no_certainty():
    values = numpy.random.default_rng(0).random(50)
    copied = standard_error(numpy.repeat(values, 4), numpy.repeat(range(50), 4))
    assert copied == pytest.approx(standard_error(values, range(50)))


def test_prompts_of_unequal_size_by_hand():
    """20 prompts: ten with one picture of 1, ten with three pictures of 0. Mean 10 / 40; residuals .75 and -.75."""
    values, ids = [1.0] * 10 + [0.0] * 30, [*range(10), *numpy.repeat(range(10, 20), 3)]
    assert standard_error(values, ids) == pytest.approx(math.sqrt(20 / 19 * 20 * 0.75**2) / 40)


def test_agrees_with_the_cluster_robust_error_of_statsmodels():
    """OLS(y, ones).fit(cov_type="cluster", cov_kwds={"groups": ids}).bse of statsmodels 0.14, 29 prompts."""
    generator = numpy.random.default_rng(12)
    ids, values = generator.integers(30, size=100), generator.random(100).round(3)
    assert standard_error(values, ids) == pytest.approx(0.02607163, abs=1e-8)


def test_tags_add_up():
    """The mean of two tags' means: half the root of the sum of their squared errors; an unscored value is left out."""
    rng = numpy.random.default_rng(1)
    x, y = rng.random(30), rng.random(50)
    errors = [each.std(ddof=1) / math.sqrt(len(each)) for each in (x, y)]
    found = standard_error([*x, *y, math.nan], range(81), ["x"] * 30 + ["y"] * 51)
    assert found == pytest.approx(math.hypot(*errors) / 2)


def test_agrees_with_the_published_closed_form():
    """rewards.md 4.3, SD3.5-M's level, four pictures of correlation .5: .0139 on average over 40 sets."""
    rng = numpy.random.default_rng(1)
    rate = numpy.repeat([0.98, 0.78, 0.50, 0.81, 0.24, 0.52], SIZES)[:, None]
    tags = numpy.repeat(range(6), [4 * size for size in SIZES])
    errors = []
    for _ in range(40):
        copies = rng.random((553, 4)) < math.sqrt(0.5)
        right = numpy.where(copies, rng.random((553, 1)) < rate, rng.random((553, 4)) < rate)
        errors.append(standard_error(right.ravel(), numpy.arange(2212) // 4, tags))
    assert numpy.mean(errors) == pytest.approx(0.0139, rel=0.02)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_interval_without_tags_is_that_of_the_t_test(confidence):
    values = numpy.random.default_rng(5).gamma(2.0, size=25)
    ours = interval(values, range(25), confidence=confidence, method="analytic")
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_interval_of_two_tags_is_that_of_welchs_test():
    """(mean of x + mean of y) / 2 is half the difference of x and -y; Welch's degrees of freedom, 6 and 30 prompts."""
    rng = numpy.random.default_rng(5)
    x, y = rng.normal(size=6), rng.normal(scale=0.5, size=30)
    ours = interval([*x, *y], range(36), ["x"] * 6 + ["y"] * 30, method="analytic")
    theirs = scipy.stats.ttest_ind(x, -y, equal_var=False)
    bounds = theirs.confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((bounds.low / 2, bounds.high / 2))
    parts = Design.of(range(36), ["x"] * 6 + ["y"] * 30).strata(numpy.array([*x, *y]))
    assert error_and_freedom(parts)[1] == pytest.approx(theirs.df)


def test_few_prompts_and_no_spread():
    assert math.isnan(standard_error(range(19), range(19)))
    assert math.isnan(standard_error(range(44), range(44), ["few"] * 4 + ["many"] * 40))
    assert standard_error([1.0] * 30, range(30)) == 0


def test_errors():
    with pytest.raises(ConfigError, match="one of each per image"):
        standard_error([1.0, 0.0], ["p"])
    with pytest.raises(ConfigError, match="value 0 is infinite"):
        standard_error([math.inf], ["p"])
