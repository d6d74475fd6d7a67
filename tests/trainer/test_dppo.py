"""Which steps Flow-DPPO leaves out: by hand, against torch.distributions, in its limits."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from flowbench.trainer.objectives.dppo import keeps


def test_by_hand():
    """Two elements, std 2; a mean that moved by (1, 3) has D = 10 / 2 / 8 = .625, one that moved by (0, 1) .0625."""
    moved = torch.tensor([[1.0, 3.0], [0.0, 1.0]]).repeat(3, 1)
    ratio = torch.tensor([1.1, 1.1, 0.9, 0.9, 1.0, 1.0])

    def kept(advantage, threshold):
        zero, std, advantages = torch.zeros(6, 2), torch.full((6, 1), 2.0), torch.full((6,), advantage)
        return keeps(moved, zero, std, ratio, advantages, threshold=threshold).tolist()

    assert kept(2.0, 0.1) == [False, True, True, True, True, True]  # a good one that is likelier already
    assert kept(-2.0, 0.1) == [True, True, False, True, True, True]  # a bad one that is less likely already
    assert kept(0.0, 0.1) == [True] * 6
    assert kept(2.0, 0.625) == [False, True, True, True, True, True]  # at the threshold it is beyond it
    assert kept(2.0, 0.626) == [True] * 6
    assert kept(2.0, 0.0) == [False, False, True, True, True, True]
    assert kept(2.0, math.inf) == [True] * 6 and kept(-2.0, math.inf) == [True] * 6


def test_the_divergence_is_the_gaussian_kl():
    generator = torch.Generator().manual_seed(0)
    mean, mean_old = (torch.randn(50, 2, 4, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    std = torch.rand(50, 1, 1, 1, generator=generator, dtype=torch.float64) + 0.1
    divergence = kl_divergence(Normal(mean, std), Normal(mean_old, std)).flatten(1).mean(1)
    assert float(divergence.min()) < 2 < float(divergence.max())
    for threshold in divergence.tolist():
        just_below = threshold * (1 - 1e-9)  # what equals the threshold is beyond it, whichever way it is rounded
        found = keeps(mean, mean_old, std, torch.full((50,), 1.5), torch.ones(50), threshold=just_below)
        assert torch.equal(found, divergence < just_below)


def test_it_is_decided_without_gradient():
    mean = torch.ones(2, 3, requires_grad=True)
    ratio = torch.tensor([1.2, 0.8], requires_grad=True)
    kept = keeps(mean, torch.zeros(2, 3), torch.ones(2, 1), ratio, torch.ones(2), threshold=0.1)
    assert kept.dtype == torch.bool and not kept.requires_grad and kept.tolist() == [False, True]


@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_on_policy_everything_is_kept(advantage):
    mean = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    kept = keeps(mean, mean, torch.ones(3, 1), torch.ones(3), torch.full((3,), advantage), threshold=1e-12)
    assert kept.all()
