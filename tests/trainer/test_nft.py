"""The forward-process loss: hand arithmetic, an independent reference, gradients; and what its rollouts are."""

from __future__ import annotations

import numpy
import pytest
import tiny_runs
import torch

from flowbench.trainer.learner import BEHAVIOUR
from flowbench.trainer.objectives import nft_loss
from flowbench.trainer.objectives.nft import NFT
from flowbench.trainer.rollout import collect

ODE = {"rollout__kind": "ode", "rollout__noise_level": None}


def nft(pipeline, **changes):
    return tiny_runs.config(pipeline, objective={"name": "nft"}, **ODE, **changes)


def tensors(seed=0, shape=(3, 2, 4, 4)):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(4)]


def test_by_hand():
    """One element: v 1, v_old 3, x_t 2, t .5, x0 1, weight .75, beta 1.

    v+ = 1, v- = 2 x 3 - 1 = 5; x0+ = 2 - .5 = 1.5, x0- = 2 - 2.5 = -.5; errors .5 and -1.5;
    .75 x .25 / .5 + .25 x 2.25 / 1.5 = .375 + .375.
    """
    one = [torch.tensor([[value]]) for value in (1.0, 3.0, 2.0, 1.0)]
    assert nft_loss(*one, 0.5, torch.tensor([0.75])).item() == pytest.approx(0.75, abs=1e-12)
    # beta .5: v+ = 2, v- = 4; x0+ = 1, x0- = 0; errors 0 and -1: (0 + .25 x 1 / 1) / .5
    assert nft_loss(*one, 0.5, torch.tensor([0.75]), beta=0.5).item() == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("beta", [1.0, 0.1, 2.0])
def test_against_numpy(beta):
    v, v_old, x_t, x0 = tensors()
    t, weight = torch.tensor([0.2, 1.0, 0.7]), torch.tensor([0.0, 1.0, 0.3])
    found = nft_loss(v, v_old, x_t, x0, t, weight, beta=beta)
    assert found.shape == (3,) and found.dtype == torch.float64
    for row in range(3):
        a, b, x, clean = (each[row].numpy().astype(numpy.float64) for each in (v, v_old, x_t, x0))
        time, share, total = float(t[row]), float(weight[row]), 0.0
        for side, part in ((beta * a + (1 - beta) * b, share), ((1 + beta) * b - beta * a, 1 - share)):
            error = x - time * side - clean
            total += part * (error**2).mean() / abs(error).mean()
        assert found[row].item() == pytest.approx(total / beta, rel=1e-6)  # t is float32


def test_an_exact_guess_is_not_divided_by_zero():
    v, _, x_t, _ = tensors()
    x0 = x_t - 0.5 * v
    loss = nft_loss(v.requires_grad_(), v.detach(), x_t, x0, 0.5, torch.full((3,), 0.5))
    loss.sum().backward()
    assert loss.tolist() == pytest.approx([0.0] * 3, abs=1e-20) and bool(v.grad.isfinite().all())


def test_no_gradient_but_through_v():
    leaves = [each.requires_grad_() for each in tensors()]
    nft_loss(*leaves, 0.5, torch.full((3,), 0.8)).sum().backward()
    v, v_old, *_ = leaves
    assert v.grad is not None and v_old.grad is None


def test_the_gradient_at_the_behaviour_policy():
    """At v = v_old both guesses are one, e = x_t - t v - x0; w held fixed, d/dv = -(2 weight - 1) 2 t e / (n w).

    A picture at its group's mean moves nothing, a better one draws v to it, a worse one pushes it away by as much.
    """
    v, _, x_t, x0 = tensors()
    weight, t = torch.tensor([0.5, 1.0, 0.0]).double(), 0.4
    moved = v.clone().requires_grad_()
    nft_loss(moved, v, x_t, x0, t, weight).sum().backward()
    error = x_t - t * v - x0
    size = error.abs().flatten(1).mean(1)
    factor = (-(2 * weight - 1) * 2 * t / (32 * size)).reshape(3, 1, 1, 1)
    torch.testing.assert_close(moved.grad, factor * error, rtol=1e-9, atol=1e-15)


def test_weights_from_rewards(pipeline):
    """Advantages of .1, .9 about .5, over the step's std (.4 here), clipped at 5: 1/2 +- (.4 / .4001) / 10."""
    objective = NFT(nft(pipeline).objective, nft(pipeline).rollout)
    rewards = torch.tensor([0.1, 0.9, 0.1, 0.9]).double()
    weights = objective.signal(rewards, torch.tensor([0, 0, 1, 1]))
    assert weights.tolist() == pytest.approx([0.5 - 0.1 / 1.00025, 0.5 + 0.1 / 1.00025] * 2)
    extreme = objective.signal(torch.tensor([1.0] + [0.0] * 100).double(), torch.zeros(101))
    assert (extreme[0].item(), bool((extreme >= 0).all())) == (1.0, True)


def test_rollouts_are_those_of_the_ode_under_the_behaviour_copy(pipeline):
    settings = nft(pipeline)
    policy, objective = tiny_runs.policy(settings, moved=0.02), tiny_runs.objective(settings)
    for value in policy.learner.weights[BEHAVIOUR].values():
        value.mul_(2)
    group = tiny_runs.groups(settings)[0]
    (trajectory,) = collect(policy, objective, [group], lambda samples: None).trajectories
    assert trajectory.transitions == () and trajectory.latents is not None
    condition = policy.model.encode([group.prompt.text]).repeat(4)
    seeds = [group.latent_seed(member) for member in range(4)]
    with policy.using(BEHAVIOUR):
        expected = policy.model.sample_latents(condition, seeds, steps=settings.rollout.steps)
    assert torch.equal(trajectory.latents, expected)
    assert not torch.equal(expected, policy.model.sample_latents(condition, seeds, steps=settings.rollout.steps))
