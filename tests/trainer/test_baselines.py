"""The paper's baselines as pure functions: hand arithmetic, independent implementations, gradients, limits."""

from __future__ import annotations

import math

import numpy
import pytest
import scipy.special
import torch

from flowbench.errors import ConfigError, RewardError
from flowbench.trainer.objectives.dpo import best_and_worst, dpo_loss, pair_coefficient, pair_margin
from flowbench.trainer.objectives.rwr import reward_weights
from flowbench.trainer.objectives.sft import best_of_group

NAN = math.nan


def velocities(seed=0, pairs=5, shape=(4, 6, 6)):
    """v of the policy and of the reference at both pictures of each pair, and the targets of both."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn((pairs, *shape), generator=generator, dtype=torch.float64) for _ in range(6)]


def published_dpo(v_won, v_lost, ref_won, ref_lost, target_won, target_lost, beta):
    """As the published training script has it, in numpy: both pictures of a pair in one batch, chunked in two; the
    difference of the model's losses, that of the reference's, -beta/2 times their difference, minus log sigmoid."""
    model, ref, target = (
        numpy.concatenate([won.numpy(), lost.numpy()])
        for won, lost in ((v_won, v_lost), (ref_won, ref_lost), (target_won, target_lost))
    )
    losses = ((model - target) ** 2).mean(axis=(1, 2, 3))
    ref_losses = ((ref - target) ** 2).mean(axis=(1, 2, 3))
    difference = numpy.subtract(*numpy.split(losses, 2))
    ref_difference = numpy.subtract(*numpy.split(ref_losses, 2))
    return -numpy.log(scipy.special.expit(-0.5 * beta * (difference - ref_difference)))


def errors(v_won, v_lost, ref_won, ref_lost, target_won, target_lost):
    pairs = (v_won, target_won), (v_lost, target_lost), (ref_won, target_won), (ref_lost, target_lost)
    return [((v - target) ** 2).mean(dim=(1, 2, 3)) for v, target in pairs]


def test_dpo_by_hand():
    """Errors .5 and .9 against .6 and .8 of the reference: margin (-.1) - (.1) = -.2; beta 10: -log sigmoid(1)."""
    one = [torch.tensor([value], dtype=torch.float64) for value in (0.5, 0.9, 0.6, 0.8)]
    assert pair_margin(*one).item() == pytest.approx(-0.2, abs=1e-15)
    assert dpo_loss(*one, beta=10).item() == pytest.approx(-math.log(1 / (1 + math.exp(-1))), abs=1e-15)
    assert pair_coefficient(pair_margin(*one), beta=10).item() == pytest.approx(5 / (1 + math.exp(1)), abs=1e-15)


@pytest.mark.parametrize("beta", [0.5, 30.0, 2000.0])
def test_dpo_against_the_published_form(beta):
    parts = velocities()
    if beta == 2000:  # near the reference, where training begins: elsewhere the float64 reference itself overflows
        parts[2], parts[3] = parts[0] + 1e-3 * parts[2], parts[1] + 1e-3 * parts[3]
    found = dpo_loss(*errors(*parts), beta=beta)
    assert found.shape == (5,) and found.dtype == torch.float64
    numpy.testing.assert_allclose(found.numpy(), published_dpo(*parts, beta), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("beta", [1.0, 30.0])
def test_the_gradient_of_dpo_against_the_chain_rule_by_hand(beta):
    """d/dv_won = beta/2 sigmoid(beta/2 margin) 2 (v_won - target) / n, and minus that of the lost one."""
    parts = velocities(1)
    v_won, v_lost = (each.requires_grad_() for each in parts[:2])
    dpo_loss(*errors(*parts), beta=beta).sum().backward()
    with torch.no_grad():
        won, lost, won_ref, lost_ref = (each.numpy() for each in errors(*parts))
    factor = beta / 2 * scipy.special.expit(beta / 2 * ((won - won_ref) - (lost - lost_ref))) * 2 / 144
    for v, target, sign in ((v_won, parts[4], 1), (v_lost, parts[5], -1)):
        wanted = sign * factor[:, None, None, None] * (v.detach() - target).numpy()
        numpy.testing.assert_allclose(v.grad.numpy(), wanted, rtol=1e-9, atol=1e-18)


def test_two_passes_have_the_gradient_of_one():
    """Coefficients from a pass without gradient, then each picture by itself."""
    parts = velocities(2)
    together = [each.clone().requires_grad_() for each in parts[:2]]
    dpo_loss(*errors(*together, *parts[2:]), beta=12.0).sum().backward()
    apart = [each.clone().requires_grad_() for each in parts[:2]]
    coefficient = pair_coefficient(pair_margin(*errors(*parts)), beta=12.0)
    for sign, v, target in ((1, apart[0], parts[4]), (-1, apart[1], parts[5])):
        for row in range(5):
            (sign * coefficient[row] * ((v[row] - target[row]) ** 2).mean()).backward()
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-12, atol=1e-18)


def test_the_limits_of_dpo():
    """At the reference it is log 2 whatever beta, with coefficient beta/4; far on the right side it is done, far on the
    wrong one it is a line of slope beta/2; and nothing overflows."""
    won, lost = torch.tensor([0.3, 2.0]), torch.tensor([0.7, 0.1])
    assert dpo_loss(won, lost, won, lost, beta=500).tolist() == pytest.approx([math.log(2)] * 2, abs=1e-15)
    assert pair_coefficient(pair_margin(won, lost, won, lost), beta=500).tolist() == [125.0] * 2
    zero, far = torch.zeros(2), torch.tensor([-1e3, 1e3])
    assert dpo_loss(far, zero, zero, zero, beta=4).tolist() == [0.0, 2000.0]
    assert pair_coefficient(far, beta=4).tolist() == [0.0, 2.0]


def test_no_gradient_reaches_the_reference():
    parts = [torch.rand(3, dtype=torch.float64, requires_grad=True) for _ in range(4)]
    dpo_loss(*parts, beta=3.0).sum().backward()
    assert [each.grad is not None for each in parts] == [True, True, False, False]


def test_best_and_worst_by_hand():
    rewards = [0.2, 0.9, 0.9, 0.1, 0.1, 0.5, 0.5, NAN, 3.0, NAN, NAN]
    groups = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3]
    assert best_of_group(rewards, groups).tolist() == [0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0]
    assert best_and_worst(rewards, groups).tolist() == [0, 1, 0, -1, 0, 0, 0, 0, 0, 0, 0]


def test_unscored_members_are_neither_best_nor_worst():
    rewards = [NAN, -2.0, -1.0, NAN, -3.0]
    assert best_of_group(rewards, [0] * 5).tolist() == [0, 0, 1, 0, 0]
    assert best_and_worst(rewards, [0] * 5).tolist() == [0, 0, 1, 0, -1]


@pytest.mark.parametrize("temperature", [0.05, 1.0, 40.0])
def test_weights_against_scipy(temperature):
    rewards = torch.rand(4, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    ids = torch.arange(4).repeat_interleave(6)
    found = reward_weights(rewards.flatten(), ids, temperature=temperature).view(4, 6)
    numpy.testing.assert_allclose(
        found.numpy(), 6 * scipy.special.softmax(rewards.numpy() / temperature, axis=1), rtol=1e-12
    )


def test_weights_of_a_group_have_mean_1_over_its_scored_members():
    rewards, ids = [0.5, NAN, 0.5, 0.1, 0.7, NAN], ["a", "a", "a", "b", "b", "c"]
    weights = reward_weights(rewards, ids, temperature=0.2)
    e = math.exp(3)
    assert weights.tolist() == pytest.approx([1, 0, 1, 2 / (1 + e), 2 * e / (1 + e), 0], abs=1e-12)


def test_the_limits_of_the_temperature():
    """Cold, the best takes all and rewards of any size overflow nothing; hot, all weigh 1."""
    rewards, ids = torch.tensor([1e5, -1e5, 99999.0]), torch.zeros(3)
    assert reward_weights(rewards, ids, temperature=1e-3).tolist() == [3.0, 0.0, 0.0]
    assert reward_weights(rewards, ids, temperature=1e12).tolist() == pytest.approx([1.0] * 3, abs=1e-6)


@pytest.mark.parametrize("choose", [best_of_group, best_and_worst, lambda *a: reward_weights(*a, temperature=1.0)])
def test_bad_rewards_are_refused(choose):
    with pytest.raises(RewardError, match="the reward of sample 1 is infinite"):
        choose([0.0, math.inf], [0, 0])
    with pytest.raises(ConfigError, match="rewards for 1 group ids"):
        choose([0.0, 1.0], [0])
    assert choose([], []).tolist() == []
