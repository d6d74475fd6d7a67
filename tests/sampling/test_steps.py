"""One step: equations by hand, log-probs against torch.distributions, exactness of the replay."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from flowbench.errors import ConfigError, UnknownName
from flowbench.sampling import (
    KINDS,
    flow_match,
    gaussian_log_prob,
    per_sample_mean,
    std_without_dt,
    step,
    step_std,
)

NOISY = ["flow", "cps", "dance"]


def latents(batch=4, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, 3, 8, 8, generator=generator, dtype=torch.float64).to(dtype) for _ in range(3)]


def numbers(*values):
    return [torch.full((1, 1, 1, 1), value, dtype=torch.float64) for value in values]


@pytest.mark.parametrize("kind", KINDS)
def test_noise_level_zero_is_the_euler_step(kind):
    x, v, noise = latents()
    sigmas = flow_match(10)
    for i in range(10):
        taken = step(x, v, sigmas[i], sigmas[i + 1], kind=kind, noise_level=0.0, noise=noise)
        euler = x + v * (sigmas[i + 1] - sigmas[i])
        torch.testing.assert_close(taken.prev, euler, rtol=0, atol=5e-7)
        assert torch.equal(taken.prev, taken.mean)
        assert taken.std.eq(0).all() and taken.log_prob.eq(0).all()
        assert torch.equal(step(x, v, sigmas[i], sigmas[i + 1], kind=kind, noise_level=0.0).prev, taken.prev)


def test_ode_equals_diffusers_scheduler_to_the_bit():
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(10)
    x, v, _ = latents()
    theirs = ours = x
    for i, time in enumerate(scheduler.timesteps):
        theirs = scheduler.step(v * (i + 1), time, theirs).prev_sample
        ours = step(ours, v * (i + 1), scheduler.sigmas[i], scheduler.sigmas[i + 1], kind="ode").prev
        assert torch.equal(ours, theirs), f"step {i}"


def test_flow_by_hand():
    x, v = numbers(2.0, -1.0)
    taken = step(x, v, 0.8, 0.5, kind="flow", noise_level=0.5, noise=torch.ones_like(x))
    # s^2 = .25 * .8 / .2 = 1; dt = -.3; mean = 2 * (1 - .3 / 1.6) - 1 * (1 + .2 / 1.6) * -.3 = 1.625 + .3375
    assert taken.mean.item() == pytest.approx(1.9625, abs=1e-12)
    assert taken.std.item() == pytest.approx(math.sqrt(0.3), abs=1e-12)
    assert taken.prev.item() == pytest.approx(1.9625 + math.sqrt(0.3), abs=1e-12)
    assert taken.log_prob.item() == pytest.approx(-0.5 - math.log(0.3) / 2 - math.log(2 * math.pi) / 2, abs=1e-12)


def test_dance_by_hand():
    x, v = numbers(2.0, -1.0)
    taken = step(x, v, 0.8, 0.5, kind="dance", noise_level=0.4, noise=torch.ones_like(x))
    # x0_hat = 2 + .8 = 2.8; score = -(2 - .2 * 2.8) / .64 = -2.25; mean = 2 + .3 - .5 * .16 * -2.25 * -.3 = 2.246
    assert taken.mean.item() == pytest.approx(2.246, abs=1e-12)
    assert taken.std.item() == pytest.approx(0.4 * math.sqrt(0.3), abs=1e-12)


def test_cps_by_hand():
    x, v = numbers(2.0, -1.0)
    taken = step(x, v, 0.8, 0.5, kind="cps", noise_level=1 / 3, noise=torch.ones_like(x))
    # c = .5 * sin(30 deg) = .25; x0_hat = 2.8, eps_hat = 2 - .2 = 1.8; mean = .5 * 2.8 + sqrt(.25 - .0625) * 1.8
    assert taken.mean.item() == pytest.approx(1.4 + math.sqrt(0.1875) * 1.8, abs=1e-12)
    assert taken.std.item() == pytest.approx(0.25, abs=1e-12)
    assert taken.log_prob.item() == pytest.approx(-0.0625, abs=1e-12)  # noise 1: the residual is c


@pytest.mark.parametrize("kind", ["flow", "dance"])
@pytest.mark.parametrize("sigma", [1.0, 0.9, 0.5, 0.1])
def test_gaussian_log_prob_equals_torch_distributions(kind, sigma):
    x, v, noise = latents(dtype=torch.float64)
    taken = step(x, v, sigma, sigma - 0.1, kind=kind, noise_level=0.3, noise=noise)
    expected = Normal(taken.mean, taken.std).log_prob(taken.prev).mean(dim=(1, 2, 3))
    assert taken.log_prob.dtype == torch.float64 and taken.log_prob.shape == (4,)
    torch.testing.assert_close(taken.log_prob, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["flow", "cps", "dance"])
def test_the_density_of_any_step_and_its_gradient_equal_torch_distributions(kind):
    x, v, noise = latents(dtype=torch.float64)
    v.requires_grad_()
    taken = step(x, v, 0.7, 0.4, kind=kind, noise_level=0.8, noise=noise)
    found = gaussian_log_prob(taken.prev, taken.mean, taken.std)
    expected = Normal(taken.mean, taken.std).log_prob(taken.prev.detach()).mean(dim=(1, 2, 3))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    left, right = (torch.autograd.grad(each.sum(), v, retain_graph=True)[0] for each in (found, expected))
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_step_std_is_the_std_of_the_step(kind):
    x, v, noise = latents(dtype=torch.float64)
    sigma, sigma_next = torch.tensor([1.0, 0.8, 0.5, 0.2]), torch.tensor([0.75, 0.5, 0.2, 0.0])
    stds = step(x, v, sigma, sigma_next, kind=kind, noise_level=0.6, noise=noise).std.flatten()
    assert torch.equal(step_std(kind, sigma, sigma_next, 0.6), stds)


def test_cps_log_prob_is_the_stated_function_of_the_density():
    x, v, noise = latents(dtype=torch.float64)
    taken = step(x, v, 0.7, 0.4, kind="cps", noise_level=0.8, noise=noise)
    c = 0.4 * math.sin(0.4 * math.pi)
    density = Normal(taken.mean, c).log_prob(taken.prev).mean(dim=(1, 2, 3))
    expected = 2 * c**2 * (density + math.log(c) + math.log(2 * math.pi) / 2)
    torch.testing.assert_close(taken.log_prob, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("noise_level", [0.7, 0.9, 1.2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_first_flow_step_has_std_exactly_a(noise_level, dtype):
    x, v, noise = latents(dtype=dtype)
    for steps in (6, 8, 10, 28):
        taken = step(x, v, 1.0, flow_match(steps)[1].to(dtype), noise_level=noise_level, noise=noise)
        assert torch.equal(taken.std, torch.full((4, 1, 1, 1), noise_level, dtype=dtype))
        assert taken.mean.isfinite().all()


def test_the_step_to_zero():
    """Noise included for flow and dance; cps has none left, so its log-prob is 0 and `noise` is not needed."""
    x, v, noise = latents()
    for kind, std in [("flow", 0.7 * math.sqrt(0.1 * 0.1 / 0.9)), ("dance", 0.7 * math.sqrt(0.1))]:
        taken = step(x, v, 0.1, 0.0, kind=kind, noise=noise)
        torch.testing.assert_close(taken.std.flatten(), torch.full((4,), std))
    taken = step(x, v, 0.1, 0.0, kind="cps")
    torch.testing.assert_close(taken.prev, x - 0.1 * v)
    assert taken.log_prob.eq(0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_replay_gives_the_same_log_prob_to_the_bit(kind, dtype):
    x, v, noise = latents(dtype=dtype)
    taken = step(x, v, 0.8, 0.6, kind=kind, noise=noise.float())
    replayed = step(x, v.clone().requires_grad_(), 0.8, 0.6, kind=kind, prev=taken.prev)
    assert taken.prev.dtype == dtype and taken.mean.dtype == torch.float32
    assert torch.equal(replayed.log_prob, taken.log_prob)
    assert torch.equal(replayed.mean, taken.mean)
    assert replayed.prev is taken.prev


def test_log_prob_is_of_the_stored_latent_not_of_the_unrounded_one():
    x, v, noise = latents(dtype=torch.bfloat16)
    taken = step(x, v, 0.8, 0.6, noise=noise)
    stored = Normal(taken.mean.double(), taken.std.double()).log_prob(taken.prev.double()).mean(dim=(1, 2, 3))
    unrounded = -noise.double().square().mean(dim=(1, 2, 3)) / 2 - taken.std.double().log().flatten()
    unrounded -= math.log(2 * math.pi) / 2
    torch.testing.assert_close(taken.log_prob, stored, rtol=0, atol=1e-12)
    assert (taken.log_prob - unrounded).abs().max() > 1e-5


def test_bfloat16_input_is_computed_in_float32():
    x, v, noise = latents(dtype=torch.bfloat16)
    low = step(x, v, 0.8, 0.6, noise=noise)
    high = step(x.float(), v.float(), 0.8, 0.6, noise=noise.float())
    assert torch.equal(low.mean, high.mean) and torch.equal(low.prev, high.prev.bfloat16())


@pytest.mark.parametrize("kind", KINDS)
def test_float_and_tensor_sigmas_agree(kind):
    x, v, noise = latents()
    sigmas = flow_match(10)
    by_float = step(x, v, float(sigmas[3]), float(sigmas[4]), kind=kind, noise=noise)
    for shape in ((), (1,), (4,)):
        by_tensor = step(x, v, sigmas[3].expand(shape), sigmas[4].expand(shape), kind=kind, noise=noise)
        assert all(torch.equal(left, right) for left, right in zip(by_float, by_tensor, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_with_its_own_sigmas_equals_single_calls(kind):
    x, v, noise = latents(batch=8)
    sigmas = flow_match(8)  # the first is 1, the last pair ends at 0
    batch = step(x, v, sigmas[:-1], sigmas[1:], kind=kind, noise=noise)
    for i in range(8):
        row = slice(i, i + 1)
        single = step(x[row], v[row], sigmas[i], sigmas[i + 1], kind=kind, noise=noise[row])
        assert torch.equal(batch.prev[row], single.prev) and torch.equal(batch.mean[row], single.mean)
        assert torch.equal(batch.std[row], single.std)
        torch.testing.assert_close(batch.log_prob[row], single.log_prob, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", NOISY)
def test_gradient_of_log_prob_with_respect_to_v_is_the_analytic_one(kind):
    x, v, noise = latents(dtype=torch.float64)
    v.requires_grad_()
    taken = step(x, v, 0.8, 0.6, kind=kind, noise_level=0.5, noise=noise)
    (of_log_prob,) = torch.autograd.grad(taken.log_prob.sum(), v, retain_graph=True)
    (of_mean,) = torch.autograd.grad(taken.mean.sum(), v)
    # d log_prob / d mean = (prev - mean) / std^2 / n = noise / std / n; cps has 2 std^2 of that
    scale = 2 * taken.std if kind == "cps" else 1 / taken.std
    expected = noise * scale * of_mean / x[0].numel()
    assert of_mean.abs().min() > 0.1
    torch.testing.assert_close(of_log_prob, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_finite_where_some_rows_have_no_noise(kind):
    x, v, noise = latents(batch=2)
    v.requires_grad_()
    taken = step(x, v, torch.tensor([0.5, 0.1]), torch.tensor([0.4, 0.0]), kind=kind, noise=noise)
    (gradient,) = torch.autograd.grad(taken.log_prob.sum() + taken.mean.sum(), v)
    assert gradient.isfinite().all()


def test_std_without_dt_is_s():
    x, v, noise = latents(dtype=torch.float64)
    taken = step(x, v, torch.tensor([1.0, 0.8, 0.5, 0.2]), torch.tensor([0.75, 0.5, 0.2, 0.0]), noise=noise)
    s = std_without_dt(
        taken.std, torch.tensor([1.0, 0.8, 0.5, 0.2]).double(), torch.tensor([0.75, 0.5, 0.2, 0.0]).double()
    )
    expected = 0.7 * torch.tensor([1 / 0.25, 0.8 / 0.2, 1, 0.2 / 0.8], dtype=torch.float64).sqrt()
    torch.testing.assert_close(s.flatten(), expected, rtol=1e-6, atol=0)


def test_per_sample_mean_is_reduced_in_float64():
    values = torch.full((2, 3, 1000), 0.1)
    values[1, 0, 0] = 1e8  # in float32, 1e8 + .1 is 1e8
    expected = [float(torch.tensor(0.1)), (1e8 + 2999 * float(torch.tensor(0.1))) / 3000]
    assert per_sample_mean(values).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", NOISY)
def test_a_noisy_step_needs_noise_or_prev(kind):
    x, v, noise = latents()
    with pytest.raises(ConfigError, match="needs `noise`"):
        step(x, v, 0.8, 0.6, kind=kind)
    with pytest.raises(ConfigError, match="both"):
        step(x, v, 0.8, 0.6, kind=kind, noise=noise, prev=x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_level": -0.1}, "0 or more"),
        ({"noise_level": float("nan")}, "finite"),
        ({"noise_level": float("inf")}, "finite"),
        ({"kind": "cps", "noise_level": 1.1}, r"\[0, 1\]"),
        ({"sigma": 0.5, "sigma_next": 0.5}, "sigma_next < sigma"),
        ({"sigma": 1.5}, "sigma_next < sigma"),
        ({"sigma": torch.tensor([0.9, 0.8])}, "2 sigmas for 4 samples"),
        ({"v": torch.zeros(4, 3, 8, 1)}, "v has shape"),
        ({"noise": torch.zeros(3, 8, 8)}, "noise has shape"),
    ],
)
def test_bad_arguments_are_named(change, message):
    x, v, noise = latents()
    arguments = {"x": x, "v": v, "sigma": 0.8, "sigma_next": 0.5, "noise": noise} | change
    with pytest.raises(ConfigError, match=message):
        step(**arguments)


def test_unknown_kind_gets_the_close_name():
    x, v, _ = latents()
    with pytest.raises(UnknownName, match="Did you mean 'dance'"):
        step(x, v, 0.8, 0.6, kind="dence")
