"""Which steps Flow-DPPO leaves out: by hand, against torch.distributions, in its limits."""

from __future__ import annotations

import math

import pytest
import tiny_runs
import torch
from torch.distributions import Normal, kl_divergence

from flowbench.sampling import step
from flowbench.trainer.objectives.dppo import keeps
from flowbench.trainer.objectives.replayed import Replay
from flowbench.trainer.trajectory import Transition


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


def moved_step(kind, rows=6):
    """A step of an old policy and its replay by one that has moved: (replay, transition, v as a leaf)."""
    generator = torch.Generator().manual_seed(0)
    x, v_old, more, noise = (torch.randn(rows, 2, 4, 4, generator=generator, dtype=torch.float64) for _ in range(4))
    v = (v_old + 0.3 * more).requires_grad_()
    old = step(x, v_old, 0.8, 0.6, kind=kind, noise=noise)
    now = Replay(v, step(x, v, 0.8, 0.6, kind=kind, prev=old.prev))
    taken = Transition((), x, tuple(range(rows)), None, old.prev, 0.8, 0.6, old.log_prob, mean=old.mean)
    return now, taken, v


@pytest.mark.parametrize("kind", ["flow", "cps", "dance"])
@pytest.mark.parametrize("share", [0.0, 0.5, None])
def test_the_loss_is_the_unclipped_one_without_what_is_left_out(kind, share):
    """From torch.distributions; a threshold above every divergence (None) leaves nothing out."""
    now, taken, v = moved_step(kind)
    std, advantages = float(now.step.std[0]), torch.tensor([1.0, -1.0, 2.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    new, old = Normal(now.step.mean, std), Normal(taken.mean, std)
    ratio = (new.log_prob(taken.prev) - old.log_prob(taken.prev)).flatten(1).mean(1).exp()
    divergence = kl_divergence(new, old).flatten(1).mean(1).detach()
    threshold = 1e9 if share is None else max(1e-12, float(divergence.quantile(share)) * (1 - 1e-9))
    settings = tiny_runs.config("unused", objective={"name": "dppo", "threshold": threshold})
    found = tiny_runs.objective(settings).policy_loss(now, taken, advantages)
    outward = [(a > 0 and r > 1) or (a < 0 and r < 1) for a, r in zip(advantages, ratio.tolist(), strict=True)]
    dropped = torch.tensor(outward) & (divergence >= threshold)
    assert (share is None) == (not dropped.any())
    expected = torch.where(dropped, 0.0, -advantages * ratio)
    torch.testing.assert_close(found.loss, expected, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(found.divergence, divergence, rtol=1e-9, atol=0)
    assert torch.equal(found.below | found.above, dropped) and not (found.below & found.above).any()
    assert torch.equal(found.above, dropped & (ratio > 1))
    left, right = (torch.autograd.grad(each.sum(), v, retain_graph=True)[0] for each in (found.loss, expected))
    torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-15)
