"""The surrogate log-prob of advantage weighted matching against numpy, gradients by hand."""

from __future__ import annotations

import numpy
import pytest
import torch

from flowbench.errors import UnknownName
from flowbench.trainer.objectives import policy_loss
from flowbench.trainer.objectives.awm import WEIGHTINGS, surrogate_log_prob

T = torch.tensor([0.2, 1.0, 0.7], dtype=torch.float64)


def tensors(seed=0, shape=(3, 2, 4, 4)):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3)]


def expected(weighting, e, t):
    """(log-prob, its slope in the error e)."""
    return {
        "uniform": (-e, -1.0),
        "t": (-t * e, -t),
        "t2": (-t * t * e, -t * t),
        "huber": (-t * (numpy.sqrt(e + 1e-10) - 1e-5), -t / (2 * numpy.sqrt(e + 1e-10))),
        "ghuber": (-4 * t * ((e + 1e-10) ** 0.25 - 1e-10**0.25), -t * (e + 1e-10) ** -0.75),
    }[weighting]


def test_by_hand():
    """v 3, noise 2, x0 1: the target is 1, the error 4; at t .5: -4, -2, -1, -1, -2 (4^.25 - 0.00316228)."""
    one = [torch.tensor([[value]], dtype=torch.float64) for value in (3.0, 1.0, 2.0)]
    found = [surrogate_log_prob(*one, 0.5, weighting=weighting).item() for weighting in WEIGHTINGS]
    assert found == pytest.approx([-4, -2, -1, -0.999995, -2.8221025694], abs=1e-9)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_every_weighting_and_its_gradient_against_numpy(weighting):
    v, x0, noise = tensors()
    v.requires_grad_()
    found = surrogate_log_prob(v, x0, noise, T, weighting=weighting)
    (slope,) = torch.autograd.grad(found.sum(), v)
    assert found.shape == (3,) and found.dtype == torch.float64
    for row in range(3):
        residual = v.detach()[row].numpy() - (noise[row].numpy() - x0[row].numpy())
        value, by_error = expected(weighting, (residual**2).mean(), float(T[row]))
        assert found[row].item() == pytest.approx(value, abs=1e-12)
        numpy.testing.assert_allclose(slope[row].numpy(), by_error * 2 * residual / residual.size, atol=1e-12)


def test_a_root_of_nothing_has_a_finite_slope():
    _, x0, noise = tensors()
    for weighting in WEIGHTINGS:
        v = (noise - x0).requires_grad_()
        found = surrogate_log_prob(v, x0, noise, 0.5, weighting=weighting)
        (slope,) = torch.autograd.grad(found.sum(), v)
        assert found.tolist() == pytest.approx([0] * 3, abs=1e-18) and bool(slope.isfinite().all())


def test_huber_is_half_of_ghuber_with_the_square_root():
    v, x0, noise = tensors()
    half = surrogate_log_prob(v, x0, noise, T, weighting="ghuber", power=0.5) / 2
    torch.testing.assert_close(surrogate_log_prob(v, x0, noise, T, weighting="huber"), half, rtol=0, atol=1e-14)


def test_the_clipped_loss_on_it_against_numpy():
    """At the stored value the gradient is -A times the log-prob's; far above it, with A above 0, it is 0."""
    v, x0, noise = tensors()
    old = surrogate_log_prob(*tensors(1)[:1], x0, noise, T) - torch.tensor([0.0, 1.5, 0.0])
    v.requires_grad_()
    now = surrogate_log_prob(v, x0, noise, T)
    advantages = torch.tensor([-0.5, 1.0, 0.25], dtype=torch.float64)
    taken = policy_loss(now, old, advantages, clip=1.0)
    (slope,) = torch.autograd.grad(taken.loss.sum(), v, retain_graph=True)
    for row in range(3):
        (rise,) = torch.autograd.grad(now[row], v, retain_graph=True)
        ratio, a = numpy.exp(now[row].item() - old[row].item()), advantages[row].item()
        clipped = numpy.clip(ratio, 0, 2)
        assert taken.loss[row].item() == pytest.approx(max(-a * ratio, -a * clipped), abs=1e-12)
        weight = -a * ratio if -a * ratio >= -a * clipped else 0.0
        numpy.testing.assert_allclose(slope[row].numpy(), weight * rise[row].numpy(), atol=1e-12)
    assert taken.above.tolist() == [False, True, False] and not taken.below.any()


def test_another_weighting_is_refused():
    with pytest.raises(UnknownName, match=r"unknown weighting 'hubr'\. Did you mean 'huber'"):
        surrogate_log_prob(*tensors(), 0.5, weighting="hubr")
