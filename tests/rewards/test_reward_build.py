"""rewards.build: options, failures, groups, weighted sums."""

from __future__ import annotations

import math
import time

import numpy
import pytest
from PIL import Image
from scipy import stats

from flowbench import rewards
from flowbench.errors import ConfigError, LicenceError, NameTaken, RewardError, UnknownName
from flowbench.rewards import licences
from flowbench.rewards.combine import ranks, zscores
from flowbench.types import Prompt, Sample, Score


def samples(*seeds, prompt="p"):
    return [Sample(Prompt(prompt, "a thing"), Image.new("RGB", (8, 8)), seed) for seed in seeds]


@pytest.fixture
def by_seed(keep_registry):
    """A reward that gives each sample its seed times `factor`; a negative seed has no score; seed 13 breaks it."""

    @rewards.register("by_seed")
    def factory(*, factor: float = 1.0, vocabulary: str | None = None):
        """Each sample's seed.

        More text."""

        def score(batch):
            if any(sample.seed == 13 for sample in batch):
                raise ValueError("thirteen")
            return [
                Score.unscored("negative") if sample.seed < 0 else Score(sample.seed * factor, {"seed": sample.seed})
                for sample in batch
            ]

        score.vocabulary = vocabulary
        return score

    return factory


def test_a_built_reward_scores_in_order_and_passes_options(by_seed):
    reward = rewards.build("by_seed", options={"by_seed": {"factor": 2}})
    assert reward.name == "by_seed"
    assert [score.value for score in reward(samples(3, 1, 2))] == [6.0, 2.0, 4.0]
    assert reward([]) == []


def test_the_vocabulary_reaches_only_factories_that_ask_for_it(by_seed):
    assert rewards.build("by_seed", vocabulary="shapes")._function.vocabulary == "shapes"
    assert rewards.build("jpeg", vocabulary="shapes").name == "jpeg"


def test_a_misspelt_option_is_refused_with_the_close_and_the_known_ones(by_seed):
    with pytest.raises(ConfigError, match=r"'by_seed' has no option 'facto'. Did you mean 'factor'\? .*factor\."):
        rewards.build("by_seed", options={"by_seed": {"facto": 2}})
    with pytest.raises(ConfigError, match="no option 'vocabulary'"):
        rewards.build("by_seed", options={"by_seed": {"vocabulary": "coco80"}})


def test_options_for_a_reward_that_is_not_in_use_are_refused(by_seed):
    with pytest.raises(ConfigError, match=r"'by_sed', which is not in use. Did you mean 'by_seed'\?"):
        rewards.build("by_seed", options={"by_sed": {"factor": 2}})


def test_an_unknown_reward_gets_the_close_name():
    with pytest.raises(UnknownName, match=r"unknown reward 'genevall'. Did you mean 'geneval'\?"):
        rewards.build("genevall")


def test_two_factories_cannot_share_a_name(by_seed):
    with pytest.raises(NameTaken, match="'by_seed' is registered twice"):
        rewards.register("by_seed")(lambda: None)


def test_a_reward_without_a_card_gets_one_from_its_docstring(by_seed):
    assert rewards.build("by_seed").card.summary == "Each sample's seed."


def test_a_failing_reward_is_named_or_skipped(by_seed):
    with pytest.raises(RewardError, match="reward 'by_seed' failed: ValueError: thirteen"):
        rewards.build("by_seed")(samples(1, 13))
    scores = rewards.build("by_seed", on_error="skip")(samples(1, 13))
    assert [score.value for score in scores[:1]] == [1.0] and not scores[1].is_scored
    assert "ValueError: thirteen" in scores[1].note
    with pytest.raises(ConfigError, match="on_error is 'ignore'"):
        rewards.build("by_seed", on_error="ignore")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([1.0, 2.0], "returned a float where a flowbench.Score belongs"),
        ([Score(1.0), Score(math.inf)], "returned a value of inf"),
        ([Score(1.0), Score("2")], "returned a value of '2'"),
        ([Score(1.0), Score(1.0, {"area": None})], "returned the part 'area' of None"),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_broken_contract_always_raises(keep_registry, returned, message, on_error):
    rewards.register("broken")(lambda: lambda batch: returned)
    with pytest.raises(RewardError, match=f"reward 'broken'.*{message}"):
        rewards.build("broken", on_error=on_error)(samples(0, 1))


@pytest.mark.parametrize(
    ("returned", "message"),
    [([Score(1.0)] * 3, "got 2 samples and returned 3 scores"), (None, "got 2 samples and returned NoneType")],
)
def test_another_number_of_scores_is_a_failed_call(keep_registry, returned, message):
    rewards.register("short")(lambda: lambda batch: returned)
    with pytest.raises(RewardError, match=f"reward 'short' failed.*{message}"):
        rewards.build("short")(samples(0, 1))
    scores = rewards.build("short", on_error="skip")(samples(0, 1))
    assert [score.is_scored for score in scores] == [False, False]
    assert message in scores[0].note


def test_a_call_that_takes_too_long_has_failed(keep_registry):
    def factory():
        def score(batch):
            if any(sample.seed == 13 for sample in batch):
                time.sleep(30)
            return [Score(float(sample.seed)) for sample in batch]

        return score

    rewards.register("slow")(factory)
    assert [score.value for score in rewards.build("slow", timeout=5)(samples(1, 2))] == [1.0, 2.0]
    started = time.monotonic()
    with pytest.raises(RewardError, match=r"'slow' failed: TimeoutError: no answer for 2 samples within 0\.1 s"):
        rewards.build("slow", timeout=0.1)(samples(1, 13))
    kept, hung = rewards.build("slow", timeout=0.1, on_error="skip")(samples(1, 13))
    assert kept.value == 1.0 and "no answer for 1 samples within 0.1 s" in hung.note
    assert time.monotonic() - started < 5


def test_an_error_in_time_keeps_its_own_words(keep_registry):
    def network(batch):
        raise TimeoutError("the server did not answer")

    rewards.register("remote")(lambda: network)
    with pytest.raises(RewardError, match="TimeoutError: the server did not answer"):
        rewards.build("remote", timeout=5)(samples(1))


def test_scores_come_back_as_plain_floats_and_a_bare_nan_gets_a_reason(keep_registry):
    rewards.register("numpy")(lambda: lambda batch: [Score(numpy.float32(0.5), {"n": numpy.int64(3)}), Score(math.nan)])
    first, second = rewards.build("numpy")(samples(0, 1))
    assert type(first.value) is float and type(first.parts["n"]) is float
    assert first == Score(0.5, {"n": 3.0})
    assert second.note == "reward 'numpy' gave NaN and no reason"


def test_a_scoring_function_registered_without_its_factory_is_explained(keep_registry):
    rewards.register("direct")(lambda batch: [Score(1.0)] * len(batch))
    with pytest.raises(ConfigError, match=r"needs a value for its option 'batch'.*returns the function"):
        rewards.build("direct")
    rewards.register("nothing")(lambda: None)
    with pytest.raises(RewardError, match="built into a NoneType, which cannot be called"):
        rewards.build("nothing")
    rewards.register("raises")(lambda: 1 / 0)
    with pytest.raises(RewardError, match="'raises' cannot be built: ZeroDivisionError"):
        rewards.build("raises")


@pytest.mark.parametrize("mark", ["function", "factory"])
def test_a_group_reward_sees_one_prompt_at_a_time(keep_registry, mark):
    seen = []

    def factory():
        def score(batch):
            seen.append([(sample.prompt.id, sample.seed) for sample in batch])
            return [Score(sample.seed - sum(other.seed for other in batch) / len(batch)) for sample in batch]

        if mark == "function":
            score.per_group = True
        return score

    if mark == "factory":
        factory.per_group = True
    rewards.register("centred")(factory)
    mixed = [*samples(1, prompt="a"), *samples(10, prompt="b"), *samples(3, prompt="a"), *samples(20, prompt="b")]
    reward = rewards.build("centred")
    assert reward.per_group
    assert [score.value for score in reward(mixed)] == [-1.0, -5.0, 1.0, 5.0]
    assert seen == [[("a", 1), ("a", 3)], [("b", 10), ("b", 20)]]


def test_close_reaches_every_part(keep_registry):
    closed = []

    class Held:
        def __init__(self, *, key: str = "held"):
            self.key = key

        def __call__(self, batch):
            return [Score(1.0)] * len(batch)

        def close(self):
            closed.append(self.key)

    rewards.register("held")(Held)
    reward = rewards.build({"held": 1.0, "jpeg": 0.5}, options={"held": {"key": "mine"}})
    reward.close()
    assert closed == ["mine"]


def test_a_weighted_sum_keeps_its_parts(by_seed, keep_registry):
    rewards.register("constant")(lambda: lambda batch: [Score(10.0)] * len(batch))
    reward = rewards.build({"by_seed": 0.5, "constant": -0.1})
    assert reward.name == "0.5*by_seed + -0.1*constant"
    assert set(reward.parts) == {"by_seed", "constant"}
    # 0.5 x 4 - 0.1 x 10 = 1
    assert reward(samples(4)) == [Score(1.0, {"by_seed": 4.0, "by_seed/seed": 4.0, "constant": 10.0})]


def test_an_unscored_part_makes_the_sum_unscored_unless_it_is_only_watched(by_seed, keep_registry):
    rewards.register("constant")(lambda: lambda batch: [Score(10.0)] * len(batch))
    counted, whole = rewards.build({"by_seed": 0.5, "constant": 1})(samples(-1, 2))
    assert not counted.is_scored and counted.note == "by_seed: negative"
    assert math.isnan(counted.parts["by_seed"]) and counted.parts["constant"] == 10.0
    assert whole.value == 11.0
    watched = rewards.build({"by_seed": 0, "constant": 1})(samples(-1))[0]
    assert watched.value == 10.0 and math.isnan(watched.parts["by_seed"])
    assert watched.note == "by_seed: negative"


def test_a_sum_with_a_group_part_wants_whole_groups(keep_registry):
    def factory():
        return lambda batch: [Score(float(len(batch)))] * len(batch)

    factory.per_group = True
    rewards.register("size")(factory)
    reward = rewards.build({"size": 1.0, "jpeg": 0})
    assert reward.per_group
    assert [score.value for score in reward(samples(0, 1, prompt="a") + samples(0, prompt="b"))] == [2.0, 2.0, 1.0]


def test_zscore_and_rank_compare_within_a_prompt(by_seed, keep_registry):
    """Prompt a: seeds 1, 3, 8 (mean 4, deviation sqrt(26/3)); prompt b: 5, 5. The constant has nothing to say."""
    rewards.register("constant")(lambda: lambda batch: [Score(10.0)] * len(batch))
    mixed = [*samples(1, 3, prompt="a"), *samples(5, 5, prompt="b"), *samples(8, prompt="a")]
    deviation = math.sqrt(26 / 3)
    spec = {"by_seed": 2.0, "constant": 1.0}
    zscore = rewards.build(spec, combine="zscore")
    assert zscore.per_group
    values = [score.value for score in zscore(mixed)]
    assert values == pytest.approx([-6 / deviation, -2 / deviation, 0, 0, 8 / deviation])
    assert [score.parts["by_seed"] for score in zscore(mixed)] == [1.0, 3.0, 5.0, 5.0, 8.0]
    # ranks 0, .5, 1 within a; .5 for equals; weights 2 and 1
    ranked = rewards.build(spec, combine="rank")(mixed)
    assert [score.value for score in ranked] == [0.5, 1.5, 1.5, 1.5, 2.5]


def test_an_unscored_picture_takes_no_part_in_the_others_zscores(by_seed):
    scores = rewards.build({"by_seed": 1.0}, combine="zscore")(samples(1, -1, 3))
    assert [score.value for score in scores[::2]] == [-1.0, 1.0]
    assert not scores[1].is_scored and scores[1].note == "by_seed: negative"


def test_one_reward_that_leaves_a_picture_unscored_takes_it_out_of_all_comparisons(by_seed, keep_registry):
    """Seeds 1, -1, 3: the second has no by_seed, so the other reward's mean is that of the first and third too."""
    rewards.register("minus")(lambda: lambda batch: [Score(-10.0 * sample.seed) for sample in batch])
    scores = rewards.build({"by_seed": 1.0, "minus": 1.0}, combine="zscore")(samples(1, -1, 3))
    assert [score.value for score in scores[::2]] == [0.0, 0.0]  # -1 + 1 and 1 - 1
    assert not scores[1].is_scored and scores[1].parts["minus"] == 10.0


def test_a_plugin_that_ends_the_program_has_failed(keep_registry):
    def quits(batch):
        raise SystemExit("bye")

    rewards.register("quits")(lambda: quits)
    with pytest.raises(RewardError, match="'quits' failed: SystemExit: bye"):
        rewards.build("quits")(samples(0))


def test_scaled_uses_what_published_training_puts_on_a_value(keep_registry):
    card = rewards.Card("celsius", rl_scale=1 / 50, rl_shift=-0.5)
    rewards.register("celsius", card=card)(lambda: lambda batch: [Score(100.0)] * len(batch))
    (score,) = rewards.build({"celsius": 2.0}, combine="scaled")(samples(0))
    assert score.value == pytest.approx(2 * (100 / 50 - 0.5))
    assert score.parts["celsius"] == 100.0


@pytest.mark.parametrize("values", [[3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0], [0.1] * 4, [7.0]])
def test_zscores_and_ranks_against_scipy(values):
    expected = stats.zscore(values) if len(set(values)) > 1 else numpy.zeros(len(values))
    assert zscores(values) == pytest.approx(expected)
    places = (stats.rankdata(values) - 1) / (len(values) - 1) if len(values) > 1 else [0.5]
    assert ranks(values) == pytest.approx(places)
    with_gap = [math.nan, *values]
    assert zscores(with_gap)[1:] == zscores(values) and math.isnan(zscores(with_gap)[0])
    assert ranks(with_gap)[1:] == ranks(values) and math.isnan(ranks(with_gap)[0])


def test_an_unknown_way_to_combine_is_refused():
    with pytest.raises(ConfigError, match=r"combine is 'mean'\. Use one of: raw, scaled, zscore, rank"):
        rewards.build({"jpeg": 1.0}, combine="mean")


@pytest.mark.parametrize(("terms", "words"), [("non-commercial", "forbids commercial use"), ("copyleft", "same lic")])
def test_restricting_licences_need_the_users_word(keep_registry, monkeypatch, terms, words):
    monkeypatch.setattr(licences, "_accepted", set())
    card = rewards.Card("gated", licence="Some licence 1.0", terms=terms)
    rewards.register("gated", card=card)(lambda: lambda batch: [Score(1.0)] * len(batch))
    with pytest.raises(LicenceError, match=rf"'gated' \(Some licence 1.0\) .*{words}.*--accept-licence gated"):
        rewards.build({"jpeg": 1.0, "gated": 0})
    monkeypatch.setenv("FLOWBENCH_ACCEPT_LICENCES", "other, gated")
    assert rewards.build("gated")(samples(0))[0].value == 1.0
    monkeypatch.delenv("FLOWBENCH_ACCEPT_LICENCES")
    rewards.accept_licence("gated")
    assert rewards.build("gated")(samples(0))[0].value == 1.0


@pytest.mark.parametrize("weights", [{}, {"jpeg": 0}, {"jpeg": math.nan}, {"jpeg": "1"}, {"jpeg": True}])
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ConfigError, match="weight"):
        rewards.build(weights)
