"""What a reward or metric of the user's may answer, raise and be called: converted or refused where it enters."""

from __future__ import annotations

import math

import numpy
import pytest
from PIL import Image

from flowbench import metrics, rewards
from flowbench.errors import ConfigError, RewardError
from flowbench.metrics.catalog import registry as metric_registry
from flowbench.types import Prompt, Sample, Score

SAMPLES = [Sample(Prompt("p", "a thing"), None, seed) for seed in range(2)]


class Unspeakable(BaseException):
    def __str__(self):
        raise RuntimeError("no words")


class Unshowable:
    def __repr__(self):
        raise RuntimeError("no words")


class Broken(list):
    def __getitem__(self, place):
        raise IndexError("gone")

    __iter__ = __getitem__


ROUND = []
ROUND.append(ROUND)


@pytest.fixture
def mine(keep_registry):
    """`mine(kind, function)`: a reward or metric called `mine` that scores by the function."""

    def build(kind, function, **settings):
        table = rewards if kind == "reward" else metrics
        table.register("mine")(lambda: function)
        return table.build("mine", **settings)

    yield build
    metric_registry._targets.pop("mine", None)


def score_of(answer):
    return answer.score if isinstance(answer, metrics.Measured) else answer


@pytest.mark.parametrize("kind", ["reward", "metric"])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (0.5, "a float where a flowbench.Score belongs"),
        (Score(Unshowable()), "a value of <Unshowable instance"),
        (Score(10**400), "a value of 1000"),
        (Score(1 + 2j), "a value of"),
        (Score(-math.inf), "a value of -inf"),
        (Score(0.5, {"part": "0.5"}), "the part 'part' of '0.5'"),
        (Score(0.5, {"part": None}), "the part 'part' of None"),
        (Score(0.5, {"part": math.inf}), "the part 'part' of inf"),
        (Score(0.5, {3: 0.5}), "a part with the name 3"),
        (Score(0.5, {"": 0.5}), "a part with the name ''"),
        (Score(0.5, {" part": 0.5}), "a part with the name ' part'"),
        (Score(0.5, {"\x1b[31m": 0.5}), "a part with the name"),
        (Score(0.5, {"half \ud800": 0.5}), "a part with the name"),
        (Score(0.5, {"value": 0.1}), "a part with the name 'value'"),
        (Score(0.5, {"mine": 0.1}), "a part with the name 'mine'"),
        (Score(0.5, [0.5]), r"\[0.5\] for parts or details"),
        (Score(0.5, None), "None for parts or details"),
        (Score(0.5, note=7), "a note of 7"),
        (Score(0.5, note=b"bytes"), "a note of b'bytes'"),
        (Score(0.5, note=Unshowable()), "a note of <Unshowable instance"),
        (Score(0.5, details="text"), "'text' for parts or details"),
        (Score(0.5, details={"a": {1, 2}}), "details that JSON cannot hold .*a set is nothing of JSON"),
        (Score(0.5, details={"a": [b"bytes"]}), "details that JSON cannot hold .*bytes"),
        (Score(0.5, details={(1, 2): "a"}), r"details that JSON cannot hold .*\(1, 2\) is no key"),
        (Score(0.5, details={"a": Unshowable()}), "details that JSON cannot hold .*Unshowable"),
        (Score(0.5, details={"a": ROUND}), "details that JSON cannot hold .*RecursionError"),
    ],
)
def test_an_answer_that_no_record_can_hold_is_refused_with_the_name(mine, kind, answer, said):
    for on_error in ("raise", "skip"):
        with pytest.raises(RewardError, match=f"{kind} 'mine' returned {said}"):
            mine(kind, lambda samples: [answer for _ in samples], on_error=on_error)(SAMPLES)
        rewards.registry._targets.pop("mine", None), metric_registry._targets.pop("mine", None)


@pytest.mark.parametrize("kind", ["reward", "metric"])
def test_what_can_be_converted_is(mine, kind):
    details = {
        "box": numpy.arange(2),
        "sure": numpy.bool_(True),
        "pair": (1, [numpy.float32(0.5)]),
        "half \ud800": "\udfff",
    }
    answer = Score(numpy.float32(0.5), {"n": numpy.int64(3), "odd": numpy.nan}, "half \ud800", details)
    (first, _) = map(score_of, mine(kind, lambda samples: (answer, answer))(SAMPLES))
    assert (type(first.value), type(first.parts["n"]), first.value, first.parts["n"]) == (float, float, 0.5, 3.0)
    assert math.isnan(first.parts["odd"]) and first.note == "half \\ud800"
    assert first.details == {"box": [0, 1], "sure": True, "pair": (1, [0.5]), "half \\ud800": "\\udfff"}
    assert type(first.details["sure"]) is bool


@pytest.mark.parametrize("kind", ["reward", "metric"])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Unspeakable(), r"Unspeakable: \(its text cannot be read\)"),
        (GeneratorExit("done"), "GeneratorExit: done"),
        (SystemExit(0), "SystemExit: 0"),
        (ValueError("half \ud800"), r"ValueError: half \\ud800"),
    ],
)
def test_whatever_is_raised_is_a_failed_call(mine, kind, error, said):
    def fail(samples):
        raise error

    with pytest.raises(RewardError, match=f"{kind} 'mine' failed: {said}"):
        mine(kind, fail)(SAMPLES)
    rewards.registry._targets.pop("mine", None), metric_registry._targets.pop("mine", None)
    scores = [*map(score_of, mine(kind, fail, on_error="skip")(SAMPLES))]
    assert [score.is_scored for score in scores] == [False, False]
    assert scores[0].note.encode() and f"{kind} 'mine' failed" in scores[0].note


@pytest.mark.parametrize("kind", ["reward", "metric"])
def test_ctrl_c_is_the_users_own(mine, kind):
    def interrupted(samples):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mine(kind, interrupted, on_error="skip")(SAMPLES)


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_what_a_reward_does_to_its_samples_is_not_what_others_see(keep_registry, timeout):
    def spoil():
        def score(samples):
            count = len(samples)
            for sample in samples:
                sample.image.paste((0, 0, 0), (0, 0, *sample.image.size))
                sample.prompt.metadata.clear()
            samples.clear()
            return [Score(1.0)] * count

        return score

    rewards.register("spoil")(spoil)
    shown = [Sample(Prompt("p", "a thing", metadata={"tag": "x"}), Image.new("RGB", (4, 4), "white"), 0)]
    assert rewards.build("spoil", timeout=timeout)(shown)[0].value == 1.0
    assert shown[0].image.getpixel((1, 1)) == (255, 255, 255) and shown[0].prompt.metadata == {"tag": "x"}


def test_a_list_that_breaks_while_it_is_read_is_a_failed_call(mine):
    reward = mine("reward", lambda samples: Broken([Score(1.0)] * len(samples)), on_error="skip")
    assert "reward 'mine' failed" in reward(SAMPLES)[0].note


@pytest.mark.parametrize("build", [rewards.build, metrics.build])
def test_a_factory_that_ends_the_program_cannot_be_built(keep_registry, build):
    def factory():
        raise Unspeakable

    table = rewards if build is rewards.build else metrics
    table.register("ends")(factory)
    try:
        with pytest.raises(RewardError, match=r"'ends' cannot be built: Unspeakable: \(its text cannot be read\)"):
            build("ends")
    finally:
        metric_registry._targets.pop("ends", None)


def test_a_reward_that_fails_when_it_is_closed_takes_no_scores_along(keep_registry, capsys):
    class Held:
        def __call__(self, samples):
            return [Score(1.0)] * len(samples)

        def close(self):
            raise Unspeakable

    rewards.register("held")(lambda: Held())
    reward = rewards.build("held")
    assert reward(SAMPLES) == [Score(1.0)] * 2
    reward.close()
    assert "warning: reward 'held' failed when it was closed: Unspeakable" in capsys.readouterr().err


@pytest.mark.parametrize("register", [rewards.register, metrics.register])
def test_what_is_registered_is_checked(register):
    for name in ("two words", "a=1", "[b]", "\x1b[31m", "value", "", None):
        with pytest.raises(ConfigError, match=r"cannot be the name of a (reward|metric)"):
            register(name)(lambda: None)
    with pytest.raises(ConfigError, match="'mine' is registered with a dict for a card"):
        register("mine", card={"unit": "m"})(lambda: None)
    with pytest.raises(ConfigError, match="'mine' is registered with a int that is no factory"):
        register("mine")(7)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"direction": "up"}, "its direction is 'up'"),
        ({"terms": "noncommercial"}, "its terms is 'noncommercial'. Did you mean 'non-commercial'"),
        ({"parts": {"a": rewards.Part("m", "Higher")}}, "its direction of the part 'a' is 'Higher'"),
        ({"rl_scale": math.nan}, "its rl_scale is nan"),
        ({"rl_shift": math.inf}, "its rl_shift is inf"),
        ({"low": "0"}, "its low is '0'"),
    ],
)
def test_a_card_says_what_a_card_can_say(facts, said):
    with pytest.raises(ConfigError, match=f"the card of 'mine': {said}"):
        rewards.Card("mine", **facts)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("share", math.nan, "its option 'share' is nan. Give a finite number"),
        ("share", math.inf, "its option 'share' is inf. Give a finite number"),
        ("share", True, "its option 'share' is True. Give a finite number"),
        ("sure", "no", "its option 'sure' is 'no'. Give true or false"),
        ("sure", 1, "its option 'sure' is 1. Give true or false"),
        ("name", 7, "its option 'name' is 7. Give a text"),
        ("free", -math.inf, "its option 'free' is -inf. Give a finite number"),
        ("needed", math.nan, "its option 'needed' is nan. Give a finite number"),
    ],
)
def test_options_that_no_reward_could_mean_are_refused(keep_registry, option, value, said):
    @rewards.register("mine")
    def factory(*, needed, share: float = 0.5, sure: bool = False, name: str = "x", free: object = None):
        return lambda samples: [Score(1.0)] * len(samples)

    good = {"needed": 1, "share": 1, "sure": True, "name": "y", "free": [1]}
    rewards.check("mine", {"mine": good})
    with pytest.raises(ConfigError, match=f"reward 'mine': {said}"):
        rewards.check("mine", {"mine": good | {option: value}})


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf, 1e300])
def test_a_time_limit_is_a_time(timeout):
    with pytest.raises(ConfigError, match="timeout is"):
        rewards.build("jpeg", timeout=timeout)


def test_a_sum_that_no_number_holds_is_refused(keep_registry):
    rewards.register("huge")(lambda: lambda samples: [Score(1e300 * (1 + sample.seed)) for sample in samples])
    with pytest.raises(RewardError, match=r"the weighted sum is inf\. Give its parts smaller weights"):
        rewards.build({"huge": 1e10})(SAMPLES)
    with pytest.raises(RewardError, match="a value is too large for combine=zscore"):
        rewards.build({"huge": 1.0}, combine="zscore")(SAMPLES)
    assert [score.value for score in rewards.build({"huge": 1.0}, combine="rank")(SAMPLES)] == [0.0, 1.0]
