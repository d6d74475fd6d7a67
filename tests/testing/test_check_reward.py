"""The plugin kit finds every broken promise, and lets a sound reward pass."""

from __future__ import annotations

import itertools
import random

import numpy
import pytest
import torch

from flowbench import rewards
from flowbench.rewards import registry
from flowbench.testing import check_reward, sample_pictures
from flowbench.types import Score


@pytest.fixture
def register():
    """Registers a factory as `mine`, and takes it out again."""

    def add(factory, **card):
        registry.add("mine", factory, card=rewards.Card("mine", **card))

    yield add
    registry._targets.pop("mine", None)
    registry._cards.pop("mine", None)


def brightness(sample):
    return float(numpy.asarray(sample.image.convert("L"), dtype=float).mean() / 255)


def sound(batch):
    return [Score(brightness(sample)) for sample in batch]


def depends_on_batch(batch):
    mean = sum(map(brightness, batch)) / len(batch)
    return [Score(brightness(sample) - mean) for sample in batch]


def sorted_scores(batch):
    return [Score(value) for value in sorted(map(brightness, batch))]


def noisy(batch):
    return [Score(random.random()) for _ in batch]


def reseeding(batch):
    torch.manual_seed(0)
    return sound(batch)


def editing(batch):
    for sample in batch:
        sample.prompt.metadata["include"].clear()
    return sound(batch)


def forgiving(batch):
    return [Score(0.0 if sample.image is None else brightness(sample)) for sample in batch]


def mean_of_the_prompt(batch):
    return [Score(sum(map(brightness, batch)) / len(batch))] * len(batch)


mean_of_the_prompt.per_group = True


@pytest.mark.parametrize("score", [sound, mean_of_the_prompt])
def test_a_sound_reward_passes(register, score):
    register(lambda: score, low=0, high=1)
    check_reward("mine")


def test_the_example_reward_passes():
    check_reward("jpeg")


@pytest.mark.parametrize(
    ("score", "card", "said"),
    [
        (sound, {"high": 0.2}, "range: 0.* is outside the card's range, -inf to 0.2"),
        (lambda batch: [Score.unscored("no idea")] * len(batch), {}, "length: not one of 6 samples is scored: no idea"),
        (depends_on_batch, {}, "batch size: scored in smaller batches, the samples get other scores"),
        (sorted_scores, {}, "order: reversed, the samples get other scores"),
        (noisy, {}, r"determinism: it moves a global random state"),
        (reseeding, {}, r"determinism: it moves a global random state"),
        (editing, {}, "input: it changes the prompts it is given"),
        (forgiving, {}, r"bad input: a sample without a picture gets 0\.0"),
    ],
)
def test_a_broken_promise_is_named(register, score, card, said):
    register(lambda: score, **card)
    with pytest.raises(AssertionError, match=f"reward 'mine' breaks [1-4] of its promises:\n(.*\n)*{said}"):
        check_reward("mine")


def test_a_reward_that_drifts_from_call_to_call_is_named(register):
    calls = itertools.count()
    register(lambda: lambda batch: [Score(brightness(sample) + next(calls)) for sample in batch])
    with pytest.raises(AssertionError, match="determinism: a second call gives other scores"):
        check_reward("mine")


def test_the_sample_pictures_are_the_same_on_every_call():
    first, second = sample_pictures(), sample_pictures()
    assert [sample.image.tobytes() for sample in first] == [sample.image.tobytes() for sample in second]
    assert len({sample.image.tobytes() for sample in first}) == 6
    assert [sample.prompt for sample in first] == [sample.prompt for sample in second]
    assert len({sample.image.size for sample in first}) == 6
