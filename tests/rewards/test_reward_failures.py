"""What is asked again when a reward fails on a whole batch (`on_error: skip`)."""

from __future__ import annotations

import math

import pytest
from PIL import Image

from flowbench import rewards
from flowbench.types import Prompt, Sample, Score


@pytest.fixture
def ask():
    """`ask(bad, size)`: the values of `size` pictures by a reward that fails on the places `bad`, its calls' sizes."""

    def asked(bad: set[int], size: int = 8) -> tuple[list[float], list[int]]:
        calls: list[int] = []

        def score(batch):
            calls.append(len(batch))
            if bad & {sample.seed for sample in batch}:
                raise ConnectionError("no answer")
            return [Score(float(sample.seed)) for sample in batch]

        reward = rewards.Reward("fragile", score, card=rewards.Card("fragile"), on_error="skip")
        samples = [Sample(Prompt("p", "a thing"), Image.new("RGB", (4, 4)), seed) for seed in range(size)]
        return [score.value for score in reward(samples)], calls

    return asked


@pytest.mark.parametrize("bad", [{0}, {7}, {3, 4}, {0, 1, 2, 3}])
def test_only_the_pictures_that_fail_stay_unscored(ask, bad):
    values, calls = ask(bad)
    assert {place for place, value in enumerate(values) if math.isnan(value)} == bad
    assert [value for value in values if not math.isnan(value)] == [place for place in range(8) if place not in bad]
    assert calls == [8] + [1] * 8  # nobody is asked a third time


def test_a_reward_that_is_down_is_not_asked_for_every_picture(ask):
    """With a time-out of 30 s and groups of 32 that would be a quarter of an hour per group."""
    values, calls = ask(set(range(32)), 32)
    assert all(map(math.isnan, values))
    assert calls == [32, 1, 1, 1]


def test_a_batch_that_goes_well_is_asked_once(ask):
    assert ask(set()) == ([float(place) for place in range(8)], [8])
