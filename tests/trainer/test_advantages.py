"""Group advantages by hand."""

from __future__ import annotations

import math

import pytest
import torch

from flowbench.errors import ConfigError, RewardError
from flowbench.trainer.advantages import group_advantages

NAN = math.nan


def test_group_scale_by_hand():
    # group 0: mean 2, population std sqrt(((1)^2 + 0 + 1^2) / 3) = .81650; group 1: mean 15, std 5
    actual = group_advantages([1.0, 2.0, 3.0, 10.0, 20.0], [0, 0, 0, 1, 1])
    one = 1 / (math.sqrt(2 / 3) + 1e-4)
    assert actual.tolist() == pytest.approx([-one, 0, one, -5 / 5.0001, 5 / 5.0001], abs=1e-6)


def test_batch_scale_divides_by_the_std_of_all_raw_rewards():
    # raw rewards 0, 2, 10, 12: mean 6, squares 36 + 16 + 16 + 36 = 104, std sqrt(26); not sqrt(1) of the centred ones
    actual = group_advantages([0.0, 2.0, 10.0, 12.0], [0, 0, 1, 1], scale="batch")
    one = 1 / (math.sqrt(26) + 1e-4)
    assert actual.tolist() == pytest.approx([-one, one, -one, one], abs=1e-6)


def test_scale_none_only_centres():
    assert group_advantages([1.0, 4.0, 7.0, 9.0], [0, 0, 1, 1], scale="none").tolist() == [-1.5, 1.5, -1.0, 1.0]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_unscored_rewards_get_zero_and_take_no_part(scale):
    with_holes = group_advantages([1.0, NAN, 3.0, 5.0, 6.0, NAN], [0, 0, 0, 1, 1, 1], scale=scale)
    without = group_advantages([1.0, 3.0, 5.0, 6.0], [0, 0, 1, 1], scale=scale)
    assert with_holes[[1, 5]].tolist() == [0, 0]
    assert torch.equal(with_holes[[0, 2, 3, 4]], without)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_degenerate_groups_get_exactly_zero(scale):
    # the float64 mean of three times 0.1 is not 0.1
    rewards = [0.1, 0.1, 0.1, 0.3, NAN, NAN, NAN, 1.0, 2.0]
    actual = group_advantages(rewards, list("aaabbccdd"), scale=scale, eps=1e-300, clip=1e300)
    assert actual[:7].tolist() == [0] * 7
    assert actual[7] < 0 < actual[8]


def test_nothing_scored_at_all():
    assert group_advantages([NAN, NAN], [0, 1], scale="batch").tolist() == [0, 0]
    assert group_advantages([], []).tolist() == []


def test_clip():
    # one success among 101: mean 1/101, std sqrt(100)/101, so 100/101 / (10/101 + 1e-4) = 9.99 before the clip
    rewards = [1.0] + [0.0] * 100
    assert group_advantages(rewards, [0] * 101)[0] == 5
    assert group_advantages(rewards, [0] * 101, clip=2.0)[0] == 2
    assert group_advantages(rewards, [0] * 101, clip=100.0)[0] == pytest.approx(100 / 101 / (10 / 101 + 1e-4))


def test_eps_is_added_to_the_std():
    assert group_advantages([0.0, 2.0], [0, 0], eps=1.0).tolist() == [-0.5, 0.5]


def test_order_and_labels_do_not_matter():
    generator = torch.Generator().manual_seed(0)
    rewards = torch.rand(24, generator=generator, dtype=torch.float64)
    groups = torch.arange(24) % 4
    order = torch.randperm(24, generator=generator)
    expected = group_advantages(rewards, groups)[order]
    torch.testing.assert_close(group_advantages(rewards[order], groups[order]), expected)
    torch.testing.assert_close(group_advantages(rewards[order], [f"g{9 - i}" for i in groups[order]]), expected)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_every_group_sums_to_zero_and_scaling_rewards_changes_nothing(scale):
    rewards = torch.rand(6, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64).flatten()
    groups = torch.arange(48) // 8
    actual = group_advantages(rewards, groups, scale=scale, eps=0.0)
    assert actual.reshape(6, 8).sum(dim=1).abs().max() < 1e-12
    if scale != "none":
        torch.testing.assert_close(group_advantages(100 * rewards + 7, groups, scale=scale, eps=0.0), actual)


def test_dtype_follows_float_rewards():
    assert group_advantages(torch.tensor([0.0, 1.0], dtype=torch.float64), [0, 0]).dtype == torch.float64
    assert group_advantages([0, 1], [0, 0]).dtype == torch.float32


def test_errors():
    with pytest.raises(ConfigError, match="scale 'std'"):
        group_advantages([1.0], [0], scale="std")
    with pytest.raises(ConfigError, match="2 group ids"):
        group_advantages([1.0], [0, 0])
    with pytest.raises(RewardError, match="sample 1 is infinite"):
        group_advantages([1.0, math.inf], [0, 0])


def test_rewards_too_large_to_average_are_an_error_and_not_nan():
    with pytest.raises(RewardError, match=r"as large as 1\.7e\+308 cannot be averaged"):
        group_advantages([1.7e308, 1.6e308, 1.0], [0, 0, 0])
