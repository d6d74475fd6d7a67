"""The group preference loss: against the logarithm that it comes from, whole and in parts, and its clip."""

from __future__ import annotations

import pytest
import torch

from flowbench.trainer.objectives.dgpo import dgpo_loss, group_coefficients, within_clip
from flowbench.trainer.objectives.matching import flow_error

BETA = 20.0
GROUPS = torch.tensor([0, 0, 0, 0, 2, 2, 2])
ADVANTAGES = torch.tensor([1.2, -0.7, 0.3, -0.8, 1.0, -1.0, 0.0], dtype=torch.float64)


def tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn((7, 2, 3, 3), generator=generator, dtype=torch.float64) for _ in range(4)]


def test_by_hand():
    """Errors 1, 3 against 2, 2, A 1, -1, beta .5: s = .25 (-1 - 1) = -.5, sigmoid .377541; loss .377541 (1, -3)."""
    error, reference, advantages = (torch.tensor(row).double() for row in ([1, 3], [2, 2], [1, -1]))
    weights = group_coefficients(error, reference, advantages, torch.tensor([0, 0]), beta=0.5)
    assert weights.tolist() == pytest.approx([0.3775406688] * 2, abs=1e-9)
    loss = dgpo_loss(error, error, advantages * weights, clip=None)
    assert loss.tolist() == pytest.approx([0.3775406688, -1.1326220064], abs=1e-9)


def test_the_gradient_is_that_of_the_groups_preference():
    """|G| / beta times the gradient of -log sigmoid(-s), for every group, with s written out by loops."""
    v, v_ref, x0, noise = tensors()
    target = noise - x0
    left, right = v.clone().requires_grad_(), v.clone().requires_grad_()
    error, reference = flow_error(left, x0, noise), flow_error(v_ref, x0, noise)
    weights = group_coefficients(error, reference, ADVANTAGES, GROUPS, beta=BETA)
    assert not weights.requires_grad
    dgpo_loss(error, error.detach(), ADVANTAGES * weights, clip=None).sum().backward()
    total = torch.zeros((), dtype=torch.float64)
    for group in (0, 2):
        members = [row for row in range(7) if GROUPS[row] == group]
        s = torch.zeros((), dtype=torch.float64)
        for row in members:
            before, now = ((v_ref[row] - target[row]) ** 2).mean(), ((right[row] - target[row]) ** 2).mean()
            s = s + BETA / len(members) * ADVANTAGES[row] * (now - before)
        total = total - torch.nn.functional.logsigmoid(-s) * len(members) / BETA
    total.backward()
    assert float(left.grad.abs().max()) > 1e-3
    torch.testing.assert_close(left.grad, right.grad, rtol=0, atol=1e-12)


def test_parts_of_a_group_add_up():
    v, v_ref, x0, noise = tensors(1)
    error, reference = flow_error(v, x0, noise), flow_error(v_ref, x0, noise)
    weights = ADVANTAGES * group_coefficients(error, reference, ADVANTAGES, GROUPS, beta=BETA)
    whole = dgpo_loss(error, error, weights, clip=None)
    parts = [dgpo_loss(error[rows], error[rows], weights[rows], clip=None) for rows in ([0, 1, 2], [3, 4], [5, 6])]
    assert torch.equal(torch.cat(parts), whole)


def test_a_policy_like_its_reference_pulls_with_a_half():
    error = torch.rand(7).double()
    assert group_coefficients(error, error, ADVANTAGES, GROUPS, beta=BETA).tolist() == [0.5] * 7


def test_a_group_in_order_pulls_less():
    reference = torch.ones(7).double()
    ordered = group_coefficients(reference - 0.1 * ADVANTAGES, reference, ADVANTAGES, GROUPS, beta=BETA)
    wrong = group_coefficients(reference + 0.1 * ADVANTAGES, reference, ADVANTAGES, GROUPS, beta=BETA)
    assert bool((ordered < 0.5).all()) and bool((wrong > 0.5).all())
    torch.testing.assert_close(ordered + wrong, torch.ones(7).double())  # sigmoid(-s) = 1 - sigmoid(s)


def test_the_clip_stops_those_that_have_gone_far_enough():
    """Ratios e^.2 and e^-.2 for a good and a bad member each: pushed up and gone up, pushed down and gone down."""
    old = torch.ones(4).double()
    error = (old - torch.tensor([0.2, -0.2, 0.2, -0.2])).requires_grad_()
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    assert within_clip(error, old, advantages, clip=0.1).tolist() == [False, True, True, False]
    assert within_clip(error, old, advantages, clip=0.5).all()
    loss = dgpo_loss(error, old, advantages / 4, clip=0.1)
    free = dgpo_loss(error, old, advantages / 4, clip=None)
    assert torch.equal(loss, free)  # the value stays
    loss.sum().backward()
    assert error.grad.tolist() == [0.0, 0.25, -0.25, 0.0]
