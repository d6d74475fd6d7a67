"""The regression of reinforce adjoint matching against numpy, its gradient and its fixed point."""

from __future__ import annotations

import numpy
import pytest
import torch

from flowbench.trainer.objectives.ram import ram_loss

ADVANTAGES = torch.tensor([1.5, -0.5, 0.0], dtype=torch.float64)


def tensors(seed=0, shape=(3, 2, 4, 4)):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(5)]


def test_by_hand():
    """v 1, v_old 2, v_ref 3, x0 1, noise 5, A .5, multiplier .1: target 3 + .05 (4 - 2) = 3.1, error 2.1^2."""
    one = [torch.tensor([[value]]) for value in (1.0, 2.0, 3.0, 1.0, 5.0)]
    assert ram_loss(*one, torch.tensor([0.5]), multiplier=0.1).item() == pytest.approx(4.41, abs=1e-6)


def test_against_numpy_with_its_gradient():
    leaves = [each.requires_grad_() for each in tensors()]
    found = ram_loss(*leaves, ADVANTAGES, multiplier=0.2)
    assert found.shape == (3,) and found.dtype == torch.float64
    found.sum().backward()
    for row in range(3):
        v, v_old, v_ref, x0, noise = (each.detach()[row].numpy() for each in leaves)
        away = v - (v_ref + 0.2 * float(ADVANTAGES[row]) * (noise - x0 - v_old))
        assert found[row].item() == pytest.approx((away**2).mean(), abs=1e-12)
        numpy.testing.assert_allclose(leaves[0].grad[row].numpy(), 2 * away / away.size, atol=1e-12)
    assert all(leaf.grad is None for leaf in leaves[1:])


def test_without_a_reward_the_base_is_the_fixed_point():
    _, v_old, v_ref, x0, noise = tensors()
    assert ram_loss(v_ref, v_old, v_ref, x0, noise, torch.zeros(3), multiplier=5.0).tolist() == [0.0] * 3


def test_a_good_picture_draws_the_velocity_to_itself():
    """At v = v_old = v_ref the gradient is -2 multiplier A ((noise - x0) - v) / n."""
    v, _, _, x0, noise = tensors()
    moved = v.clone().requires_grad_()
    ram_loss(moved, v, v, x0, noise, ADVANTAGES, multiplier=0.3).sum().backward()
    expected = -2 * 0.3 * ADVANTAGES.reshape(3, 1, 1, 1) * ((noise - x0) - v) / 32
    torch.testing.assert_close(moved.grad, expected, rtol=0, atol=1e-14)
