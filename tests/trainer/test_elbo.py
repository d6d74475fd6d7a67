"""The ELBO losses against numpy, gradients by hand; and where epg, pepg, par and nft must meet."""

from __future__ import annotations

import numpy
import pytest
import torch

from flowbench.errors import UnknownName
from flowbench.trainer.objectives import nft_loss
from flowbench.trainer.objectives.elbo import KINDS, elbo, elbo_loss

T = torch.tensor([0.2, 1.0, 0.7], dtype=torch.float64)
ADVANTAGES = torch.tensor([0.08, -0.03, 0.0], dtype=torch.float64)


def tensors(seed=0, shape=(3, 2, 4, 4)):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(4)]


def bound(v, x_t, x0, t):
    """(L, dL/dv) of one sample in numpy, w held fixed."""
    v, x_t, x0 = (each.numpy().astype(numpy.float64) for each in (v, x_t, x0))
    error = x_t - float(t) * v - x0
    w = max(abs(error).mean(), 1e-5)
    return -(error**2).mean() / w, 2 * float(t) * error / (error.size * w)


def gradient(loss, v):
    (found,) = torch.autograd.grad(loss.sum(), v)
    return found


def test_by_hand():
    """v 1, x_t 2, t .5, x0 1: x0_hat 1.5, error .5, w .5, L -.5; v_old 3: error -.5, w .5, L -.5."""
    one = [torch.tensor([[value]]) for value in (1.0, 2.0, 1.0)]
    assert elbo(*one, 0.5).tolist() == [-0.5]
    assert elbo(torch.tensor([[3.0]]), *one[1:], 0.5).tolist() == [-0.5]
    assert elbo(torch.tensor([[4.0]]), *one[1:], torch.tensor([0.5])).tolist() == [-1.0]
    # L -.5, L_old -1, A .1: d .5, e^d 1.64872; epg .0824361, pepg e^d (-.4) .5, par e^d .16 / 2
    new, old, a = (torch.tensor([value], dtype=torch.float64) for value in (-0.5, -1.0, 0.1))
    assert elbo_loss("epg", new, old, a).item() == pytest.approx(0.0824360635, abs=1e-9)
    assert elbo_loss("pepg", new, old, a).item() == pytest.approx(-0.3297442541, abs=1e-9)
    assert elbo_loss("par", new, old, a).item() == pytest.approx(0.1318977017, abs=1e-9)
    without = [elbo_loss(kind, new, old, a, ratio=False).item() for kind in KINDS]
    assert without == pytest.approx([0.05, -0.2, 0.08], abs=1e-12)


def test_the_bound_and_its_gradient_against_numpy():
    v, _, x_t, x0 = tensors()
    v.requires_grad_()
    found = elbo(v, x_t, x0, T)
    slope = gradient(found, v)
    assert found.shape == (3,) and found.dtype == torch.float64
    for row in range(3):
        value, expected = bound(v.detach()[row], x_t[row], x0[row], T[row])
        assert found[row].item() == pytest.approx(value, abs=1e-12)
        numpy.testing.assert_allclose(slope[row].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("ratio", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_each_loss_and_its_gradient_against_numpy(kind, ratio):
    v, v_old, x_t, x0 = tensors()
    v.requires_grad_()
    loss = elbo_loss(kind, elbo(v, x_t, x0, T), elbo(v_old, x_t, x0, T), ADVANTAGES, ratio=ratio)
    slope = gradient(loss, v)
    for row in range(3):
        (new, rise), (old, _) = (bound(each.detach()[row], x_t[row], x0[row], T[row]) for each in (v, v_old))
        d, a = new - old, float(ADVANTAGES[row])
        weight = numpy.exp(d) if ratio else 1.0
        value, factor = {
            "epg": (-weight * a * new, -weight * a),
            "pepg": (-weight * (a - d) * new, -weight * (a - d)),
            "par": (weight * (a - d) ** 2 / 2, -weight * (a - d)),
        }[kind]
        assert loss[row].item() == pytest.approx(value, abs=1e-10)
        numpy.testing.assert_allclose(slope[row].numpy(), factor * rise, atol=1e-12)


@pytest.mark.parametrize("ratio", [True, False])
def test_pars_gradient_is_pepgs_everywhere(ratio):
    v, v_old, x_t, x0 = tensors(3)
    slopes = []
    for kind in ("pepg", "par"):
        moved = v.clone().requires_grad_()
        loss = elbo_loss(kind, elbo(moved, x_t, x0, T), elbo(v_old, x_t, x0, T), ADVANTAGES, ratio=ratio)
        slopes.append(gradient(loss, moved))
    assert float(slopes[0].abs().max()) > 1e-3
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0, atol=1e-14)


def test_all_three_agree_at_the_policy_that_sampled():
    v, _, x_t, x0 = tensors(4)
    slopes = []
    for kind in KINDS:
        moved = v.clone().requires_grad_()
        new = elbo(moved, x_t, x0, T)
        slopes.append(gradient(elbo_loss(kind, new, new.detach(), ADVANTAGES), moved))
    assert float(slopes[0].abs().max()) > 1e-4
    for other in slopes[1:]:
        torch.testing.assert_close(other, slopes[0], rtol=0, atol=1e-15)


@pytest.mark.parametrize("beta", [1.0, 0.1, 2.0])
def test_nft_has_epgs_gradient_at_the_policy_that_sampled(beta):
    """With A = 2 weight - 1, whatever beta is."""
    v, _, x_t, x0 = tensors(5)
    weight = torch.tensor([0.9, 0.2, 0.5], dtype=torch.float64)
    left, right = v.clone().requires_grad_(), v.clone().requires_grad_()
    bounds = elbo(right, x_t, x0, T)
    of_epg = gradient(elbo_loss("epg", bounds, bounds.detach(), 2 * weight - 1), right)
    of_nft = gradient(nft_loss(left, v, x_t, x0, T, weight, beta=beta), left)
    assert float(of_epg.abs().max()) > 1e-3
    torch.testing.assert_close(of_nft, of_epg, rtol=0, atol=1e-14)


def test_no_gradient_but_through_the_bound():
    new, old, advantages = (torch.tensor([value], requires_grad=True) for value in (-0.5, -0.6, 0.1))
    for kind in KINDS:
        elbo_loss(kind, new, old, advantages).sum().backward()
    assert new.grad is not None and old.grad is None and advantages.grad is None


def test_an_exact_guess_is_not_divided_by_zero():
    v, _, x_t, _ = tensors()
    value = elbo(v.requires_grad_(), x_t, x_t - 0.5 * v.detach(), 0.5)
    assert value.tolist() == pytest.approx([0.0] * 3, abs=1e-20) and bool(gradient(value, v).isfinite().all())


def test_another_kind_is_refused():
    with pytest.raises(UnknownName, match=r"unknown ELBO loss 'pegp'\. Did you mean 'pepg'"):
        elbo_loss("pegp", *[torch.zeros(1)] * 3)
