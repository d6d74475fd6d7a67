"""Policy loss and KL: hand arithmetic, gradients against finite differences, torch.distributions."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from flowbench.errors import ConfigError, UnknownName
from flowbench.sampling import step
from flowbench.trainer.objectives import check_kl_form, kl_penalty, policy_loss


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_policy_loss_by_hand():
    ratio = column(1.5, 0.5, 1.5, 0.5, 1.1)
    loss = policy_loss(ratio.log(), torch.zeros(5), column(2.0, 2.0, -2.0, -2.0, 1.0), clip=0.2)
    # A > 0: pays off only up to 1.2; A < 0: only down to .8; the pessimistic side stays unclipped
    assert loss.loss.tolist() == pytest.approx([-2.4, -1.0, 3.0, 1.6, -1.1])
    assert loss.below.tolist() == [False, True, False, True, False]
    assert loss.above.tolist() == [True, False, True, False, False]
    assert (int(loss.below.sum()), int(loss.above.sum())) == (2, 2)  # of 5
    assert loss.ratio.mean().item() == pytest.approx(5.1 / 5)


def test_gradient_vanishes_exactly_where_the_clip_binds():
    log_prob = column(1.5, 0.5, 1.5, 0.5, 1.1).log().requires_grad_()
    policy_loss(log_prob, torch.zeros(5), column(2.0, 2.0, -2.0, -2.0, 1.0), clip=0.2).loss.sum().backward()
    # d loss / d log_prob = -A * ratio where unclipped
    assert log_prob.grad.tolist() == pytest.approx([0.0, -1.0, 3.0, 0.0, -1.1])


def test_on_policy_ratio_is_exactly_one_and_gradient_is_minus_advantage():
    """At ratio 1 both branches of the max tie: together they must still give the whole gradient."""
    log_prob = column(-1.234567, -0.7654321, 3.3).requires_grad_()
    loss = policy_loss(log_prob, log_prob.detach().clone(), column(2.0, -3.0, 0.0), clip=1e-5)
    loss.loss.sum().backward()
    assert loss.ratio.eq(1).all()
    assert log_prob.grad.tolist() == [-2.0, 3.0, 0.0]
    assert not loss.below.any() and not loss.above.any()


def test_zero_advantage_adds_nothing():
    log_prob = column(0.3, -0.3).requires_grad_()
    loss = policy_loss(log_prob, torch.zeros(2), torch.zeros(2), clip=0.01).loss.sum()
    loss.backward()
    assert loss == 0 and log_prob.grad.eq(0).all()


def test_micro_batches_add_up_to_the_whole():
    generator = torch.Generator().manual_seed(0)
    log_prob, old, advantages = (torch.randn(12, generator=generator, dtype=torch.float64) for _ in range(3))
    whole = policy_loss(log_prob, old, advantages, clip=0.1).loss.sum() / 12
    for sizes in ([5, 4, 3], [1] * 12):
        parts = zip(log_prob.split(sizes), old.split(sizes), advantages.split(sizes), strict=True)
        assert sum(policy_loss(*part, clip=0.1).loss.sum() / 12 for part in parts) == pytest.approx(
            whole.item(), abs=1e-14
        )


@pytest.mark.parametrize("kind", ["flow", "cps", "dance"])
@pytest.mark.parametrize("advantage", [2.0, -2.0])
def test_gradient_step_makes_good_samples_likelier_through_the_real_step(kind, advantage):
    """Finite differences of the loss along its own gradient, and the sign of what a step downhill does to log_prob."""
    generator = torch.Generator().manual_seed(0)
    x, v, noise = (torch.randn(1, 2, 4, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    arguments = {"sigma": 0.8, "sigma_next": 0.6, "kind": kind}
    old = step(x, v, noise=noise, **arguments)

    def loss_at(velocity):
        log_prob = step(x, velocity, prev=old.prev, **arguments).log_prob
        return policy_loss(log_prob, old.log_prob, column(advantage), clip=0.5).loss.sum()

    leaf = v.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_at(leaf), leaf)
    direction = gradient / gradient.norm()
    slope = (loss_at(v + 1e-5 * direction) - loss_at(v - 1e-5 * direction)) / 2e-5
    assert slope.item() == pytest.approx(gradient.norm().item(), rel=1e-6)

    after = step(x, v - 1e-3 * direction, prev=old.prev, **arguments).log_prob
    assert (after - old.log_prob).item() * advantage > 0


def two_steps(kind, sigma=0.8, sigma_next=0.6, requires_grad=False):
    generator = torch.Generator().manual_seed(3)
    x, v, v_ref, noise = (torch.randn(2, 2, 4, 4, generator=generator) for _ in range(4))
    v.requires_grad_(requires_grad)
    taken = step(x, v, sigma, sigma_next, kind=kind, noise_level=0.7, noise=noise)
    reference = step(x, v_ref, sigma, sigma_next, kind=kind, noise_level=0.7, prev=taken.prev.detach())
    return {"taken": taken, "reference": reference, "v": v, "v_ref": v_ref} | {
        "kind": kind,
        "sigma": sigma,
        "sigma_next": sigma_next,
    }


@pytest.mark.parametrize("kind", ["flow", "cps", "dance"])
def test_path_kl_is_the_gaussian_kl(kind):
    pair = two_steps(kind)
    taken, reference = pair["taken"], pair["reference"]
    left = Normal(taken.mean.double(), taken.std.double())
    right = Normal(reference.mean.double(), reference.std.double())
    expected = kl_divergence(left, right).mean(dim=(1, 2, 3))
    torch.testing.assert_close(kl_penalty("path", **pair), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("sigma", "sigma_next"), [(0.8, 0.6), (1.0, 0.9)])
def test_path_no_dt_is_the_path_form_times_minus_dt(sigma, sigma_next):
    """std^2 = s^2 * (-dt), so dividing by s^2 instead multiplies by -dt: .2 and .1 here."""
    pair = two_steps("flow", sigma, sigma_next)
    expected = kl_penalty("path", **pair) * (sigma - sigma_next)
    torch.testing.assert_close(kl_penalty("path_no_dt", **pair), expected, rtol=1e-6, atol=0)


def test_kl_by_hand():
    x, zero, one = torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 2), torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 2)
    arguments = {"sigma": 0.5, "sigma_next": 0.25, "kind": "flow"}
    taken = step(x, one, 0.5, 0.25, noise_level=1.0, noise=zero)
    reference = step(x, zero, 0.5, 0.25, noise_level=1.0, noise=zero)
    # s^2 = 1; on_v = (1 + .5 / 1) * -.25 = -.375; mean of squares (.375^2)(1 + 9) / 2 = .703125
    assert kl_penalty("path_no_dt", taken, reference, one, zero, **arguments).item() == pytest.approx(0.703125 / 2)
    assert kl_penalty("path", taken, reference, one, zero, **arguments).item() == pytest.approx(0.703125 / 2 / 0.25)
    assert kl_penalty("velocity", taken, reference, one, zero, **arguments).item() == 5.0


@pytest.mark.parametrize(
    ("form", "kind"),
    [("path", "flow"), ("path", "cps"), ("path", "dance"), ("path_no_dt", "flow"), ("velocity", "ode")],
)
def test_kl_is_exactly_zero_for_equal_policies_and_its_gradient_pulls_to_the_reference(form, kind):
    pair = two_steps(kind, requires_grad=True)
    same = pair | {"reference": pair["taken"], "v_ref": pair["v"]}
    assert kl_penalty(form, **same).eq(0).all()
    value = kl_penalty(form, **pair)
    assert value.shape == (2,) and value.dtype == torch.float64 and (value > 0).all()
    (gradient,) = torch.autograd.grad(value.sum(), pair["v"])
    # every form is a positive multiple of mean((v - v_ref)^2)
    assert ((gradient * (pair["v"] - pair["v_ref"])) > 0).all()


def test_no_gradient_reaches_the_reference():
    pair = two_steps("flow")
    pair["v_ref"].requires_grad_()
    assert not kl_penalty("velocity", **pair).requires_grad


def test_forms_that_a_kind_does_not_have_are_refused():
    for kind in ("cps", "dance", "ode"):
        with pytest.raises(ConfigError, match="'flow' only"):
            check_kl_form("path_no_dt", kind)
    with pytest.raises(ConfigError, match="needs a step with noise"):
        check_kl_form("path", "ode")
    with pytest.raises(UnknownName, match="Did you mean 'velocity'"):
        check_kl_form("velocty", "flow")
    with pytest.raises(ConfigError, match="'flow' only"):
        kl_penalty("path_no_dt", **two_steps("cps"))
