"""Bootstrap intervals over prompts: hand cases, scipy, published standard errors, invariances, coverage."""

from __future__ import annotations

import math
import time
from dataclasses import astuple

import numpy
import pytest
import scipy.stats

from flowbench.errors import ConfigError
from flowbench.evals import interval, interval_table, paired_test
from flowbench.stats import resampling

NAN = math.nan
METHODS = ("wilson", "percentile", "bca", "analytic")
UNBOUNDED = METHODS[1:]
SIZES = {"single": 80, "two": 99, "counting": 80, "colors": 94, "position": 100, "attribute": 100}  # GenEval's tags
SD35 = {"single": 0.98, "two": 0.78, "counting": 0.50, "colors": 0.81, "position": 0.24, "attribute": 0.52}
FLOW_GRPO = {"single": 1.0, "two": 0.99, "counting": 0.95, "colors": 0.92, "position": 0.99, "attribute": 0.86}
PROMPTS = numpy.repeat(numpy.arange(553), 4)
TAGS = numpy.repeat(list(SIZES), [4 * size for size in SIZES.values()])


def geneval_like(rates, correlation, rng):
    """(2212,) zeros and ones: 4 images of each of 553 prompts, of that pairwise correlation within a prompt.

    An image copies its prompt's shared draw with a probability, else makes its own: correlation = probability^2.
    """
    rate = numpy.repeat([rates[tag] for tag in SIZES], list(SIZES.values()))[:, None]
    shared = rng.random((553, 1)) < rate
    own = rng.random((553, 4)) < rate
    return numpy.where(rng.random((553, 4)) < math.sqrt(correlation), shared, own).astype(float).ravel()


def test_mean_without_tags_is_over_images():
    result = interval([1, 1, 1, 0], ["p", "p", "p", "q"])
    assert result.mean == 0.75  # over prompts it would be .5
    assert (result.count, result.unscored) == (4, 0)


def test_mean_with_tags_is_over_tags():
    result = interval([1, 0, NAN, 1, 1, 1], list("ppqrst"), list("aaabbb"))
    assert result.mean == 0.75  # (1/2 + 3/3) / 2; over the five scored images it would be .8
    assert (result.count, result.unscored) == (5, 1)


def test_unscored_is_left_out_never_zero():
    values = [1.0, 0.0, 1.0, 1.0] * 10
    ids = list(range(40))
    holes = interval([*values, NAN, NAN], [*ids, 0, 99])
    whole = interval(values, ids)
    assert (holes.mean, holes.low, holes.high, holes.count) == (whole.mean, whole.low, whole.high, 40)
    assert holes.unscored == 2


def test_a_tag_without_any_score_leaves_no_number():
    result = interval([1.0] * 30 + [NAN] * 10, range(40), ["easy"] * 30 + ["hard"] * 10)
    assert math.isnan(result.mean) and math.isnan(result.low) and math.isnan(result.high)
    assert (result.count, result.unscored) == (30, 10)


@pytest.mark.parametrize("values", [[], [NAN, NAN]])
def test_nothing_scored(values):
    result = interval(values, range(len(values)))
    assert math.isnan(result.mean) and (result.count, result.unscored) == (0, len(values))


def test_fewer_than_twenty_prompts_have_a_mean_but_no_interval():
    few = interval([0.0, 1.0] * 38, numpy.arange(76) // 4)
    assert few.mean == 0.5 and math.isnan(few.low) and math.isnan(few.high)
    enough = interval([0.0, 1.0, 1.0, 1.0] * 20, numpy.arange(80) // 4)
    assert enough.low < enough.mean == 0.75 < enough.high  # all prompts alike, but of zeros and ones


def test_a_tag_of_few_prompts_leaves_no_interval():
    """One prompt has no spread at all, others too little: their certainty would be invented. Verdicts need fewer."""
    for few, verdicts, others in (
        (1, False, False),
        (2, False, False),
        (3, True, False),
        (4, True, False),
        (5, True, True),
    ):
        tags = ["many"] * 40 + ["few"] * few
        result = interval([0.0, 1.0] * 20 + [1.0] * few, range(40 + few), tags)
        assert result.mean == 0.75
        assert math.isfinite(result.low) == verdicts
        for scale, method in ((0.9, "wilson"), (2.0, "wilson"), (1.0, "percentile"), (1.0, "analytic")):
            scaled = [scale * value for value in [0.0, 1.0] * 20 + [1.0] * few]
            assert math.isfinite(interval(scaled, range(40 + few), tags, method=method).low) == others


@pytest.mark.parametrize("size", [5, 8])
def test_small_tags_are_covered_too(size):
    """Six tags of few prompts with one picture each: the 95 % interval holds the truth in 93 to 98 % of 1,500 sets.
    (Without the factor sqrt(n / (n - 1)) it is 91 % and 92 %.)"""
    rng = numpy.random.default_rng(8)
    tags = numpy.repeat(range(6), size)
    hits = 0
    for seed in range(1500):
        values = rng.normal(size=6 * size) + tags
        result = interval(values, range(6 * size), tags, draws=400, seed=seed)
        hits += result.low <= 2.5 <= result.high
    assert 0.93 <= hits / 1500 <= 0.98


def test_prompts_of_unequal_size_are_weighed_by_their_images_in_every_draw():
    """A mean of equal values is that value, whichever prompts are drawn and however many images they have."""
    ids = numpy.repeat(range(40), [1, 2, 3, 4] * 10)
    result = interval([0.5] * 100, ids)
    assert result.low == result.mean == result.high == 0.5


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_one_image_per_prompt_agrees_with_scipy(confidence):
    values = numpy.random.default_rng(5).gamma(2.0, size=60)
    ours = interval(values, range(60), confidence=confidence, draws=20_000, method="percentile")
    theirs = scipy.stats.bootstrap(
        (values,), numpy.mean, n_resamples=20_000, confidence_level=confidence, method="percentile", rng=1
    )
    tolerance = 0.1 * theirs.standard_error  # Monte Carlo error of the two quantiles is about .03 of it
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=tolerance)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=tolerance)


def test_copies_of_an_image_add_no_certainty():
    values = numpy.random.default_rng(0).random(50)
    once = interval(values, range(50))
    fourfold = interval(numpy.repeat(values, 4), numpy.repeat(range(50), 4))
    assert (fourfold.mean, fourfold.low, fourfold.high) == pytest.approx((once.mean, once.low, once.high), abs=1e-12)


@pytest.mark.parametrize(
    ("rates", "correlation", "standard_error"),
    [(SD35, 0.0, 0.0088), (SD35, 0.5, 0.0139), (SD35, 1.0, 0.0175), (FLOW_GRPO, 0.0, 0.0044), (FLOW_GRPO, 0.5, 0.0069)],
)
def test_widths_agree_with_the_closed_form(rates, correlation, standard_error):
    """rewards.md 4.3: Var = (1/36) sum_t p_t (1 - p_t) (1 + (m - 1) rho) / (m n_t), m = 4."""
    rng = numpy.random.default_rng(1)
    results = [interval(geneval_like(rates, correlation, rng), PROMPTS, TAGS, draws=500, seed=i) for i in range(40)]
    widths = numpy.array([result.high - result.low for result in results])
    assert widths.mean() / (2 * 1.96) == pytest.approx(standard_error, rel=0.05)


def test_row_order_does_not_matter_to_the_bit():
    rng = numpy.random.default_rng(2)
    values = rng.random(2212)
    values[rng.random(2212) < 0.1] = NAN
    expected = interval(values, PROMPTS, TAGS)
    for _ in range(3):
        order = rng.permutation(2212)
        assert interval(values[order], PROMPTS[order], TAGS[order]) == expected


def test_same_seed_same_interval_and_no_hidden_state():
    values = geneval_like(SD35, 0.5, numpy.random.default_rng(3))
    first = interval(values, PROMPTS, TAGS, seed=4, method="percentile")
    numpy.random.seed(99)
    assert interval(values, PROMPTS, TAGS, seed=4, method="percentile") == first
    assert interval(values, PROMPTS, TAGS, seed=5, method="percentile") != first


@pytest.mark.parametrize("method", ["percentile", "analytic"])
def test_moving_and_scaling_the_values_moves_and_scales_the_interval(method):
    values = numpy.random.default_rng(3).random(2212)
    plain, moved = (interval(each, PROMPTS, TAGS, method=method) for each in (values, 20 - 10 * values))
    assert moved.mean == pytest.approx(20 - 10 * plain.mean)
    assert (moved.low, moved.high) == pytest.approx((20 - 10 * plain.high, 20 - 10 * plain.low))


def test_geneval_takes_well_under_a_second():
    values = geneval_like(SD35, 0.5, numpy.random.default_rng(3))
    start = time.process_time()
    interval(values, PROMPTS, TAGS, draws=2000)
    assert time.process_time() - start < 1  # about .02 s


def test_six_metrics_with_ten_thousand_draws_take_well_under_two_seconds():
    rng = numpy.random.default_rng(3)
    metrics = {name: geneval_like(SD35, 0.5, rng) for name in "abcdef"}
    start = time.process_time()
    interval_table(metrics, PROMPTS, TAGS, draws=10_000, method="percentile")
    assert time.process_time() - start < 2  # about .04 s


def test_errors():
    with pytest.raises(ConfigError, match="one of each per image"):
        interval([1.0, 0.0], ["p"])
    with pytest.raises(ConfigError, match="one of each per image"):
        interval([1.0], ["p"], ["a", "b"])
    with pytest.raises(ConfigError, match="value 1 is infinite"):
        interval([1.0, math.inf], ["p", "q"])
    with pytest.raises(ConfigError, match="confidence 95"):
        interval([1.0], ["p"], confidence=95)


def stored_example():
    """400 values of 100 prompts, 30 of them of tag x."""
    generator = numpy.random.default_rng(20)
    values, other = generator.random(400).round(3), generator.random(400).round(3)
    prompt_ids = numpy.arange(400) // 4
    return values, other, prompt_ids, numpy.where(prompt_ids < 30, "x", "y")


def test_published_intervals_stay_what_they_were():
    """From the first implementation, a gather per draw: a number in someone's table must not move."""
    values, _, ids, tags = stored_example()
    plain, tagged = interval(values, ids, method="percentile"), interval(values, ids, tags, method="percentile")
    assert (plain.low, plain.high) == pytest.approx((0.45634025968521014, 0.5113051496531019), abs=1e-12)
    assert (tagged.mean, tagged.low) == pytest.approx((0.4776732142857143, 0.4498092268430091), abs=1e-12)
    assert tagged.high == pytest.approx(0.5051025254862497, abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_table_holds_what_each_column_has_alone(method):
    """Also where other prompts are unscored: such columns do not share their draws."""
    rng = numpy.random.default_rng(6)
    columns = {name: rng.random(2212) for name in "abcd"}
    columns["b"][:4] = NAN  # a whole prompt
    columns["c"][5] = NAN
    columns["d"][TAGS == "single"] = NAN
    table = interval_table(columns, PROMPTS, TAGS, seed=3, method=method)
    for name, values in columns.items():
        alone = interval(values, PROMPTS, TAGS, seed=3, method=method)
        assert astuple(table[name]) == pytest.approx(astuple(alone), abs=1e-12, nan_ok=True)
    assert math.isnan(table["d"].low) and math.isfinite(table["c"].low)
    assert interval_table({}, PROMPTS, TAGS) == {}


def test_draws_do_not_depend_on_how_many_are_in_memory(monkeypatch):
    values, other, ids, tags = stored_example()
    expected = interval(values, ids, tags, method="percentile"), paired_test(values, other, ids, tags)
    for at_once in (1, 1000, 2**24):
        monkeypatch.setattr(resampling, "_AT_ONCE", at_once)
        found = interval(values, ids, tags, method="percentile"), paired_test(values, other, ids, tags)
        assert found[1].p == expected[1].p
        assert (found[0].low, found[0].high) == pytest.approx((expected[0].low, expected[0].high), abs=1e-12)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_bca_agrees_with_scipy(confidence):
    """On skewed values, of which the percentile interval is another by far more than the tolerance.

    Ours is wider by sqrt(60 / 59), which is .03 standard errors here; the rest is chance.
    """
    values = numpy.random.default_rng(5).gamma(0.5, size=60)
    ours = interval(values, range(60), confidence=confidence, draws=100_000, method="bca")
    theirs = scipy.stats.bootstrap(
        (values,), numpy.mean, n_resamples=100_000, confidence_level=confidence, method="BCa", batch=5000, rng=1
    )
    tolerance = 0.1 * theirs.standard_error
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=tolerance)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=tolerance)
    percentile = interval(values, range(60), confidence=confidence, draws=100_000, method="percentile")
    assert ours.high - percentile.high > 1.5 * tolerance


def test_bca_over_tags_agrees_with_scipy_over_samples():
    rng = numpy.random.default_rng(5)
    few, many = rng.gamma(0.4, size=40), -rng.gamma(0.8, size=90)

    def mean_of_two(x, y, axis):
        return (x.mean(axis=axis) + y.mean(axis=axis)) / 2

    ours = interval([*few, *many], range(130), ["f"] * 40 + ["m"] * 90, draws=100_000, method="bca")
    theirs = scipy.stats.bootstrap((few, many), mean_of_two, n_resamples=100_000, method="BCa", vectorized=True, rng=1)
    tolerance = 0.1 * theirs.standard_error
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=tolerance)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=tolerance)


def test_bca_turns_with_the_values():
    values = numpy.random.default_rng(3).gamma(0.5, size=400)
    ids = numpy.arange(400) // 4
    up, down = interval(values, ids, method="bca"), interval(-values, ids, method="bca")
    assert (-down.high, -down.low) == pytest.approx((up.low, up.high), abs=0.05 * (up.high - up.low))


@pytest.mark.parametrize("method", UNBOUNDED)
def test_every_method_keeps_the_rules_of_few_and_of_no_spread(method):
    few = interval([0.0, 1.0] * 38, numpy.arange(76) // 4, method=method)
    assert few.mean == 0.5 and math.isnan(few.low) and math.isnan(few.high)
    tags = ["few"] * 4 + ["many"] * 40
    assert math.isnan(interval([0.0, 1.0] * 22, range(44), tags, method=method).low)
    same = interval([0.0, 1.0, 1.0, 1.0] * 20, numpy.arange(80) // 4, method=method)
    assert same.low == same.mean == same.high == 0.75


def test_methods_agree_where_there_is_much_data():
    """Of a nearly normal mean all three are the same interval, up to chance (about 3 % of the half width)."""
    values = numpy.random.default_rng(0).normal(size=8000)
    ids = numpy.arange(8000) // 4
    found = [interval(values, ids, draws=20_000, method=method) for method in METHODS]
    half = (found[0].high - found[0].low) / 2
    assert max(each.low for each in found) - min(each.low for each in found) < 0.05 * half
    assert max(each.high for each in found) - min(each.high for each in found) < 0.05 * half


def test_an_unknown_method_is_refused():
    with pytest.raises(ConfigError, match="interval method 'normal': give one of wilson, percentile, bca, analytic"):
        interval([1.0], ["p"], method="normal")


@pytest.mark.parametrize("draws", [0, -1])
def test_no_draws_are_refused(draws):
    for call in (interval, paired_test):
        scores = [[0.0, 1.0] * 20] * (1 if call is interval else 2)
        with pytest.raises(ConfigError, match=f"draws {draws}: give at least 1"):
            call(*scores, range(40), draws=draws)


NEARLY_PERFECT = [1.0] * 20 + [1.0] * 4 + [0.0]
NEARLY_PERFECT_TAGS = ["easy"] * 20 + ["hard"] * 5


@pytest.mark.parametrize("method", UNBOUNDED)
def test_shares_have_bounds_between_zero_and_one(method):
    """Widened by sqrt(5 / 4), the percentile interval would end at 1.012; that of the mirrored values begins at it."""
    best = interval(NEARLY_PERFECT, range(25), NEARLY_PERFECT_TAGS, method=method)
    worst = interval([1 - value for value in NEARLY_PERFECT], range(25), NEARLY_PERFECT_TAGS, method=method)
    assert best.mean == 0.9 and best.low < 0.9
    assert best.high == 1.0 if method != "bca" else best.high <= 1.0
    assert worst.low == 0.0 if method != "bca" else worst.low >= 0.0
    assert math.isfinite(best.low) and math.isfinite(worst.high)


def test_bounds_of_other_values_and_of_differences_stay_where_they_are():
    """Twice the values, twice the bounds; and a difference has room on both sides of 0."""
    share = interval(NEARLY_PERFECT, range(25), NEARLY_PERFECT_TAGS, method="percentile")
    double = interval([2 * value for value in NEARLY_PERFECT], range(25), NEARLY_PERFECT_TAGS, method="percentile")
    assert double.high > 2.0 == 2 * share.high
    assert double.low == pytest.approx(2 * share.low)
    paired = paired_test(NEARLY_PERFECT, [0.0] * 25, range(25), NEARLY_PERFECT_TAGS)
    assert paired.high == pytest.approx(double.high / 2)
    unscored = interval([math.nan, *NEARLY_PERFECT], range(26), ["easy", *NEARLY_PERFECT_TAGS], method="percentile")
    assert unscored.high == 1.0
