"""The guarded ratio: closed form, gradients, the mean under the old policy, and what it shares with the plain ratio."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

from flowbench.sampling import gaussian_log_prob, step
from flowbench.trainer.objectives import policy_loss
from flowbench.trainer.objectives.grpo_guard import guarded_ratio
from flowbench.trainer.objectives.kl import path_kl

KINDS = ("flow", "cps", "dance")
SIGMAS = ((1.0, 0.9), (0.8, 0.6), (0.3, 0.1))


def taken(kind, sigma, sigma_next, rows=3, shape=(2, 4, 4), size=0.3, seed=0):
    """A step of an old policy and its replay by a new one whose velocity differs: (old, new, v_new as a leaf)."""
    generator = torch.Generator().manual_seed(seed)
    x, v, other = (torch.randn(1, *shape, generator=generator, dtype=torch.float64) for _ in range(3))
    x, v_old, v = (each.expand(rows, *shape).clone() for each in (x, v, v + size * other))
    noise = torch.randn(rows, *shape, generator=generator, dtype=torch.float64)
    old = step(x, v_old, sigma, sigma_next, kind=kind, noise=noise)
    v.requires_grad_()
    return old, step(x, v, sigma, sigma_next, kind=kind, prev=old.prev), v


def ratio_of(old, new):
    log_prob, log_prob_old = (gaussian_log_prob(old.prev, each.mean, each.std) for each in (new, old))
    return guarded_ratio(log_prob, log_prob_old, new.mean, old.mean, new.std)


def test_by_hand():
    """Two elements: means 1 and 3 against 0 and 0, std 2: b = (1 + 9) / 2 / 8 = .625; log-ratio .1: exp(.725 x 2)."""
    mean = torch.tensor([[1.0, 3.0]])
    ratio = guarded_ratio(torch.tensor([0.4]), torch.tensor([0.3]), mean, torch.zeros(1, 2), torch.tensor([[2.0]]))
    assert ratio.item() == pytest.approx(2.718281828**1.45, rel=1e-6) and ratio.dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sigma", "sigma_next"), SIGMAS)
def test_against_distributions_and_its_closed_form(kind, sigma, sigma_next):
    """exp(mean(z d)): z the noise drawn, d how far the mean has moved; the densities from torch.distributions."""
    old, new, v = taken(kind, sigma, sigma_next)
    found = ratio_of(old, new)
    std = float(old.std[0])
    moved = new.mean - old.mean
    log_ratio = Normal(new.mean, std).log_prob(old.prev) - Normal(old.mean, std).log_prob(old.prev)
    bias = (moved**2).flatten(1).mean(1) / (2 * std**2)
    expected = ((log_ratio.flatten(1).mean(1) + bias) * std).exp()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    closed = (((old.prev - old.mean) / std) * moved).flatten(1).mean(1).exp()
    torch.testing.assert_close(found, closed, rtol=1e-9, atol=0)
    (gradient,) = torch.autograd.grad(found.sum(), v, retain_graph=True)
    for other in (expected, closed):
        (reference,) = torch.autograd.grad(other.sum(), v, retain_graph=True)
        torch.testing.assert_close(gradient, reference, rtol=1e-6, atol=1e-12)
    assert float(gradient.abs().max()) > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_against_finite_differences(kind):
    old, _, v = taken(kind, 0.8, 0.6, rows=1, shape=(1, 2, 2))
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(1, 1, 2, 2, generator=generator, dtype=torch.float64)

    def ratio(velocity):
        return ratio_of(old, step(x, velocity, 0.8, 0.6, kind=kind, prev=old.prev))

    assert torch.autograd.gradcheck(ratio, v.detach().clone().requires_grad_())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sigma", "sigma_next"), SIGMAS)
def test_log_ratio_and_bias_have_mean_zero_under_the_old_policy(kind, sigma, sigma_next):
    """40,000 draws of 4 elements. The spread is known, sqrt(mean(d^2) / 4) / std; without b the mean is -b."""
    old, new, _ = taken(kind, sigma, sigma_next, rows=40_000, shape=(1, 2, 2), size=0.5)
    std = float(old.std[0])
    logged = ratio_of(old, new).detach().log() / std
    moved = (new.mean - old.mean).detach()
    spread = float((moved[0] ** 2).mean() / 4) ** 0.5 / std
    assert logged.std().item() == pytest.approx(spread, rel=0.02)
    assert abs(logged.mean().item()) < 5 * spread / 200
    bias = float((moved[0] ** 2).mean()) / (2 * std**2)
    plain = gaussian_log_prob(old.prev, new.mean.detach(), old.std) - gaussian_log_prob(old.prev, old.mean, old.std)
    assert plain.mean().item() == pytest.approx(-bias, abs=5 * spread / 200) and bias > 6 * spread / 200


@pytest.mark.parametrize("kind", KINDS)
def test_its_gradient_has_mean_zero_under_the_old_policy_too(kind):
    """Of log ratio + b. Were b without gradient, the mean would be the gradient of -b: here beyond any chance."""
    old, new, v = taken(kind, 0.8, 0.6, rows=40_000, shape=(1, 2, 2), size=0.5)
    std = float(old.std[0])
    (gradient,) = torch.autograd.grad(ratio_of(old, new).log().sum() / std, v, retain_graph=True)
    (pull,) = torch.autograd.grad(path_kl(new.mean, old.mean, new.std).sum(), v)
    deviations = gradient.std(dim=0) / 200
    assert bool((gradient.mean(dim=0).abs() < 5 * deviations).all())
    assert bool((pull[0].abs() > 5 * deviations).any())


def test_where_bias_is_0_and_scale_1_it_is_the_ratio_of_flow_grpo():
    generator = torch.Generator().manual_seed(0)
    log_prob, log_prob_old, advantages = (torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(3))
    mean, std = torch.randn(6, 2, 3, generator=generator, dtype=torch.float64), torch.ones(6, 1, 1)
    plain = policy_loss(log_prob, log_prob_old, advantages, clip=0.2).ratio
    torch.testing.assert_close(guarded_ratio(log_prob, log_prob_old, mean, mean, std), plain, rtol=1e-15, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_on_policy_it_is_exactly_1_and_its_gradient_that_of_the_plain_ratio_times_std(kind):
    old, _, v = taken(kind, 0.8, 0.6, size=0.0)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 4, 4, generator=generator, dtype=torch.float64).expand(3, 2, 4, 4)
    again = step(x, v, 0.8, 0.6, kind=kind, prev=old.prev)
    guarded = ratio_of(old, again)
    assert guarded.eq(1).all()
    log_prob = gaussian_log_prob(old.prev, again.mean, again.std)
    plain = (log_prob - log_prob.detach()).exp()
    (left,) = torch.autograd.grad(guarded.sum(), v, retain_graph=True)
    (right,) = torch.autograd.grad(plain.sum(), v)
    torch.testing.assert_close(left, right * float(old.std[0]), rtol=1e-9, atol=1e-15)


def test_a_sample_is_centred_by_itself_whatever_is_beside_it():
    """Defect 13 of public code: the bias of the batch's mean."""
    old, new, _ = taken("flow", 0.8, 0.6)
    together = ratio_of(old, new)
    for row in range(3):
        alone = ratio_of(*(type(each)(*(part[row : row + 1] for part in each)) for each in (old, new)))
        assert alone.item() == together[row].item()


def test_no_gradient_but_to_the_policy():
    old, new, _ = taken("flow", 0.8, 0.6)
    mean_old, log_prob_old = old.mean.clone().requires_grad_(), old.log_prob.clone().requires_grad_()
    ratio = guarded_ratio(new.log_prob, log_prob_old, new.mean, mean_old, new.std)
    assert torch.autograd.grad(ratio.sum(), (mean_old, log_prob_old), allow_unused=True) == (None, None)
