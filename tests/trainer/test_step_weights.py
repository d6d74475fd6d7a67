"""Weights of steps: closed forms of each kind's std, and the gradient that GRPO-Guard's balances."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from flowbench.sampling import flow_match, gaussian_log_prob, step
from flowbench.trainer.objectives.grpo_guard import guarded_ratio
from flowbench.trainer.objectives.step_weights import inverse_dt, relative_std

PAIRS = [(1.0, 0.9), (0.9, 0.7), (0.7, 0.3)]


def test_inverse_dt_by_hand():
    assert [inverse_dt(*pair) for pair in PAIRS] == pytest.approx([10.0, 5.0, 2.5])


@pytest.mark.parametrize(
    ("kind", "stds"),
    [
        # a sqrt(sigma / (1 - sigma)) sqrt(-dt); the first is exactly a
        ("flow", [0.5, 0.5 * (0.9 / 0.1 * 0.2) ** 0.5, 0.5 * (0.7 / 0.3 * 0.4) ** 0.5]),
        ("cps", [0.9 * math.sin(math.pi / 4), 0.7 * math.sin(math.pi / 4), 0.3 * math.sin(math.pi / 4)]),
        ("dance", [0.5 * 0.1**0.5, 0.5 * 0.2**0.5, 0.5 * 0.4**0.5]),
    ],
)
def test_relative_std_is_the_steps_std_with_mean_1(kind, stds):
    found = [relative_std(pair, PAIRS, kind=kind, noise_level=0.5) for pair in PAIRS]
    assert found == pytest.approx([std * 3 / sum(stds) for std in stds], rel=1e-12)
    assert sum(found) / 3 == pytest.approx(1, rel=1e-12)


def test_the_std_is_the_one_of_the_step_that_is_taken():
    sigmas = flow_match(10).tolist()
    pairs = list(pairwise(sigmas[:-1]))
    x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for kind in ("flow", "cps", "dance"):
        stds = [step(x, x, *pair, kind=kind, noise_level=0.6, noise=x).std.item() for pair in pairs]
        found = [relative_std(pair, pairs, kind=kind, noise_level=0.6) for pair in pairs]
        assert found == pytest.approx([std * len(stds) / sum(stds) for std in stds], rel=1e-9)


def test_balanced_gradients_of_dance_steps_differ_by_a_few_per_cent_where_dt_differs_fourfold():
    """d mean / d v = dt (1 + a^2 (1 - sigma) / (2 sigma)): over -dt, about 1 on every step for a = .3."""
    generator = torch.Generator().manual_seed(0)
    x, v, noise = (torch.randn(1, 2, 4, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    norms, raw = [], []
    for sigma, sigma_next in PAIRS:
        leaf = v.clone().requires_grad_()
        taken = step(x, leaf, sigma, sigma_next, kind="dance", noise_level=0.3, noise=noise)
        log_prob = gaussian_log_prob(taken.prev, taken.mean, taken.std)
        ratio = guarded_ratio(log_prob, log_prob.detach(), taken.mean, taken.mean.detach(), taken.std)
        (gradient,) = torch.autograd.grad(ratio.sum(), leaf)
        raw.append(gradient.norm().item())
        norms.append(raw[-1] * inverse_dt(sigma, sigma_next))
        closed = (1 + 0.09 * (1 - sigma) / (2 * sigma)) * noise.norm().item() / noise.numel()
        assert norms[-1] == pytest.approx(closed, rel=1e-9)
    assert max(norms) / min(norms) < 1.03 and max(raw) / min(raw) > 3.9
