"""Which pictures are made is a function of (seed, step)."""

from __future__ import annotations

from collections import Counter

import pytest
import tiny_runs

from flowbench import prompts
from flowbench.errors import ConfigError
from flowbench.trainer.groups import GroupSampler, draw_seed

WINDOW = {"rollout__steps": 10, "rollout__window": 3, "rollout__window_range": 5}


def test_at_is_a_pure_function():
    settings = tiny_runs.config("unused", **WINDOW)
    sampler = GroupSampler(tiny_runs.PROMPTS, settings.rollout, {"colors": 1, "counting": 2}, 11)
    alone = sampler.at(5)
    for step in (0, 3, 9):
        sampler.at(step)
    assert sampler.at(5) == alone
    fresh = GroupSampler(tiny_runs.PROMPTS, settings.rollout, {"colors": 1, "counting": 2}, 11)
    assert fresh.at(5) == alone
    assert GroupSampler(tiny_runs.PROMPTS, settings.rollout, {"colors": 1, "counting": 2}, 12).at(5) != alone


def test_the_window_is_one_per_group_and_varies_over_groups_and_steps():
    settings = tiny_runs.config("unused", rollout__groups=8, **WINDOW)
    sampler = GroupSampler(tiny_runs.PROMPTS, settings.rollout, None, 0)
    noisy = tiny_runs.objective(settings).noisy_steps
    windows = [noisy(group) for step in range(40) for group in sampler.at(step)]
    starts = Counter(window[0] for window in windows)
    assert set(starts) == {0, 1, 2}  # within the first five steps
    assert all(60 < count < 155 for count in starts.values())  # 320 / 3 each
    assert all(window == (window[0], window[0] + 1, window[0] + 2) for window in windows)
    first = [noisy(sampler.at(step)[0]) for step in range(40)]
    assert len(set(first)) == 3


def test_groups_have_exactly_the_configured_size_and_different_noise():
    settings = tiny_runs.config("unused")
    sampled = GroupSampler(tiny_runs.PROMPTS, settings.rollout, None, 0)
    groups = [group for step in range(20) for group in sampled.at(step)]
    assert all(group.size == 4 for group in groups) and all(len(sampled.at(step)) == 4 for step in range(3))
    latents = [group.latent_seed(member) for group in groups for member in range(4)]
    noises = [group.noise_seed(member, k) for group in groups for member in range(4) for k in range(3)]
    assert len(set(latents) | set(noises)) == len(latents) + len(noises)


def test_members_may_share_their_latent_but_never_their_noise():
    settings = tiny_runs.config("unused", rollout__same_latent=True)
    groups = GroupSampler(tiny_runs.PROMPTS, settings.rollout, None, 0).at(0)
    latents = [{group.latent_seed(member) for member in range(4)} for group in groups]
    assert all(len(seeds) == 1 for seeds in latents) and len(set.union(*latents)) == 4
    assert len({group.noise_seed(member, k) for group in groups for member in range(4) for k in range(3)}) == 48


def test_draw_seed_is_unambiguous_and_fits_a_generator():
    assert draw_seed(1, "noise", 12) == draw_seed(1, "noise", 12)
    assert draw_seed(1, "noise", 1, 2) != draw_seed(1, "noise", 12)
    assert all(0 <= draw_seed(0, "x", number) < 2**63 for number in range(100))


def test_tags_are_drawn_by_their_weights():
    settings = tiny_runs.config("unused", rollout__groups=50, optimizer__updates=1)
    weights = {"position": 0.7, "counting": 0.5, "colors": 0.0}
    sampler = GroupSampler(prompts.load("shapes", "train"), settings.rollout, weights, 0)
    drawn = Counter(group.prompt.tag for step in range(40) for group in sampler.at(step))
    assert set(drawn) == {"position", "counting"}
    assert drawn["position"] / 2000 == pytest.approx(0.7 / 1.2, abs=0.04)


def test_without_weights_every_prompt_is_equally_likely():
    settings = tiny_runs.config("unused", rollout__groups=50, optimizer__updates=1)
    sampler = GroupSampler(tiny_runs.PROMPTS, settings.rollout, None, 0)
    drawn = Counter(group.prompt.id for step in range(36) for group in sampler.at(step))
    assert all(500 < count < 700 for count in drawn.values()) and len(drawn) == 3


def test_a_misspelt_tag_and_an_empty_set_are_named():
    settings = tiny_runs.config("unused")
    with pytest.raises(ConfigError, match=r"the tag 'countin', which no prompt has. Did you mean 'counting'"):
        GroupSampler(tiny_runs.PROMPTS, settings.rollout, {"countin": 1.0}, 0)
    with pytest.raises(ConfigError, match="no training prompts"):
        GroupSampler([], settings.rollout, None, 0)
