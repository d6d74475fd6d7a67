"""Solvers of the ODE: intervals by hand, diffusers' schedulers, and Gaussian data, where the solution is known."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from flowbench.errors import ConfigError, UnknownName
from flowbench.sampling import SOLVERS, History, flow_match, model_calls, solve, step

SECOND_ORDER = ["heun", "dpmpp_2m"]


def latents(batch=4, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, 3, 8, 8, generator=generator, dtype=torch.float64).to(dtype) for _ in range(3)]


def field(x, sigma):
    """A velocity that bends in x and in sigma, and mixes the channels."""
    return torch.tanh(x.roll(1, dims=1) * (1 + sigma)) - 0.7 * x + torch.sin(3 * x * sigma)


def solved(solver, x, sigmas, velocity=field):
    history = None
    for sigma, sigma_next in pairwise(sigmas):
        x, history = solve(solver, x, velocity(x, sigma), sigma, sigma_next, history=history, velocity=velocity)
    return x


def numbers(*values):
    return [torch.full((1, 1, 1, 1), value, dtype=torch.float64) for value in values]


def test_heun_by_hand():
    x, v = numbers(2.0, -1.0)
    seen = []
    taken = solve("heun", x, v, 0.5, 0.2, velocity=lambda at, sigma: seen.append((at.item(), sigma)) or at)
    assert seen == [(pytest.approx(2.3), 0.2)]  # Euler: 2 + .3
    assert taken.prev.item() == pytest.approx(2 - 0.3 * (-1 + 2.3) / 2, abs=1e-12)
    assert taken.history is None


def test_dpmpp_2m_by_hand():
    """lambda(.8), lambda(.5), lambda(.2) are -log 4, 0 and log 4, so that r is 1."""
    x, v, before = numbers(2.0, -1.0, 1.5)
    taken = solve("dpmpp_2m", x, v, 0.5, 0.2, history=History(before, 0.8))
    # x0_hat = 2.5, D = 2.5 + (2.5 - 1.5) / 2 = 3; x = .2 / .5 * 2 - .8 * (1 / 4 - 1) * 3
    assert taken.prev.item() == pytest.approx(2.6, abs=1e-12)
    assert (taken.history.x0_hat.item(), taken.history.sigma) == (2.5, 0.5)


@pytest.mark.parametrize("sigmas", [(0.9, 0.6, 0.5), (0.99, 0.2, 0.01), (0.5, 0.499, 0.1)])
def test_dpmpp_2m_in_the_paper_s_own_variables(sigmas):
    """arXiv 2211.01095, algorithm 2, with alpha = 1 - sigma and exponentials of lambda."""
    x, v, before = latents(dtype=torch.float64)
    alphas = [1 - sigma for sigma in sigmas]
    lambdas = [math.log(alpha / sigma) for alpha, sigma in zip(alphas, sigmas, strict=True)]
    h = lambdas[2] - lambdas[1]
    r = (lambdas[1] - lambdas[0]) / h
    x0_hat = x - sigmas[1] * v
    data = (1 + 1 / (2 * r)) * x0_hat - 1 / (2 * r) * before
    expected = sigmas[2] / sigmas[1] * x - alphas[2] * math.expm1(-h) * data
    taken = solve("dpmpp_2m", x, v, *sigmas[1:], history=History(before, sigmas[0]))
    torch.testing.assert_close(taken.prev, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("solver", SOLVERS)
def test_what_is_of_first_order_is_the_ode_step_to_the_bit(solver, dtype):
    x, v, before = latents(dtype=dtype)
    sigmas = flow_match(10).tolist()
    intervals = list(pairwise(sigmas)) if solver != "heun" else [(sigmas[-2], 0.0)]
    for sigma, sigma_next in intervals:
        expected = step(x, v, sigma, sigma_next, kind="ode").prev
        assert torch.equal(solve(solver, x, v, sigma, sigma_next).prev, expected)
    if solver == "dpmpp_2m":  # with a history, too: the correction is 0 after sigma 1, and up to sigma 0
        for at, first in ((1, 1.0), (9, sigmas[8])):
            history = History(before.to(torch.promote_types(dtype, torch.float32)), first)
            taken = solve(solver, x, v, sigmas[at], sigmas[at + 1], history=history)
            assert torch.equal(taken.prev, step(x, v, sigmas[at], sigmas[at + 1], kind="ode").prev)
        assert not torch.equal(
            solve(solver, x, v, sigmas[2], sigmas[3], history=history._replace(sigma=sigmas[1])).prev,
            step(x, v, sigmas[2], sigmas[3], kind="ode").prev,
        )


@pytest.mark.parametrize("steps", [2, 3, 6, 10, 20, 28])
def test_heun_equals_diffusers(steps):
    from diffusers import FlowMatchHeunDiscreteScheduler

    scheduler = FlowMatchHeunDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(steps)
    assert len(scheduler.timesteps) == model_calls("heun", steps)
    theirs = x = latents()[0]
    for time in scheduler.timesteps:
        theirs = scheduler.step(field(theirs, time.item() / 1000), time, theirs).prev_sample
    sigmas = flow_match(steps).tolist()
    torch.testing.assert_close(solved("heun", x, sigmas), theirs, rtol=0, atol=5e-5)
    assert (theirs - solved("euler", x, sigmas)).abs().max() > 0.05  # so that agreement means something


@pytest.mark.parametrize("steps", [2, 3, 6, 10, 20, 28])
@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_dpmpp_2m_equals_diffusers(steps, whose):
    """On our sigmas, which begin at 1, and on its own, which begin a little below."""
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    scheduler.set_timesteps(steps)
    if whose == "ours":
        scheduler.sigmas = flow_match(steps)
    sigmas = scheduler.sigmas.tolist()
    assert (sigmas[0] == 1) == (whose == "ours") and sigmas[-1] == 0 and len(sigmas) == steps + 1
    scheduler.set_begin_index(0)
    theirs = x = latents()[0]
    for sigma, time in zip(sigmas, scheduler.timesteps, strict=False):
        theirs = scheduler.step(field(theirs, sigma), time, theirs).prev_sample
    torch.testing.assert_close(solved("dpmpp_2m", x, sigmas), theirs, rtol=0, atol=5e-5)
    if steps > 3:
        assert (theirs - solved("euler", x, sigmas)).abs().max() > 0.1


MEAN, VARIANCE = 1.0, 0.25


def gaussian(x, sigma):
    """E[eps - x0 | x] for x0 ~ N(MEAN, VARIANCE): slope and offset from the joint Gaussian of x0, eps and x."""
    slope = (sigma - (1 - sigma) * VARIANCE) / ((1 - sigma) ** 2 * VARIANCE + sigma**2)
    return slope * (x - (1 - sigma) * MEAN) - MEAN


def errors(solver, numbers_of_steps):
    """The largest distance to the exact solution, which scales and shifts: from z at sigma 1 to MEAN + sqrt(VARIANCE)
    z."""
    z = torch.linspace(-3, 3, 61, dtype=torch.float64).reshape(-1, 1)
    exact = MEAN + math.sqrt(VARIANCE) * z
    grids = [torch.linspace(1, 0, steps + 1, dtype=torch.float64).tolist() for steps in numbers_of_steps]
    return [(solved(solver, z, grid, gaussian) - exact).abs().max().item() for grid in grids]


@pytest.mark.parametrize(
    ("solver", "least", "most"), [("euler", 1.97, 2.0), ("heun", 4.0, 4.1), ("dpmpp_2m", 3.4, 3.7)]
)
def test_the_error_on_gaussian_data_falls_with_the_order(solver, least, most):
    """Twice the steps: half the error of Euler, a quarter of Heun's; of dpmpp_2m log(n) / n^2, by its last intervals,
    which are long in lambda however many there are: 4 log(320) / log(640) is 3.57."""
    found = errors(solver, (160, 320, 640, 1280))
    assert all(least < before / after < most for before, after in pairwise(found)), found


def test_at_equal_model_calls_both_come_closer_than_euler():
    (euler,), (heun,), (dpmpp_2m,) = errors("euler", [19]), errors("heun", [10]), errors("dpmpp_2m", [19])
    assert max(heun, dpmpp_2m) < 0.3 * euler < 0.04


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_model_calls_are_those_that_are_made(solver, steps):
    seen = []
    solved(solver, latents()[0], flow_match(steps).tolist(), lambda x, sigma: seen.append(sigma) or field(x, sigma))
    assert len(seen) == model_calls(solver, steps)
    assert seen.count(0.0) == 0  # where x0_hat is the picture, no velocity is asked for


@pytest.mark.parametrize("solver", SOLVERS)
def test_rows_do_not_know_each_other_and_a_history_is_taken_apart_by_rows(solver):
    x, sigmas = latents()[0], flow_match(6).tolist()
    whole, rows = solved(solver, x, sigmas), torch.tensor([3, 0, 0])
    early, history = x, None
    for sigma, sigma_next in pairwise(sigmas[:4]):
        early, history = solve(solver, early, field(early, sigma), sigma, sigma_next, history=history, velocity=field)
    some = early[rows]
    history = history and history._replace(x0_hat=history.x0_hat[rows])
    for sigma, sigma_next in pairwise(sigmas[3:]):
        some, history = solve(solver, some, field(some, sigma), sigma, sigma_next, history=history, velocity=field)
    assert torch.equal(some, whole[rows])


@pytest.mark.parametrize("solver", SOLVERS)
def test_sixteen_bits_are_computed_in_float32_and_rounded_once(solver):
    x, v, before = latents(dtype=torch.bfloat16)
    history = History(before.float(), 0.8)
    seen = []

    def velocity(at, sigma):
        seen.append(at)
        return field(seen[0].float(), sigma)  # for both at what bfloat16 holds of the Euler step

    low = solve(solver, x, v, 0.6, 0.3, history=history, velocity=velocity)
    high = solve(solver, x.float(), v.float(), 0.6, 0.3, history=history, velocity=velocity)
    assert [at.dtype for at in seen] == [torch.bfloat16, torch.float32] * (solver == "heun")
    assert low.prev.dtype == torch.bfloat16 and torch.equal(low.prev, high.prev.bfloat16())
    if solver == "dpmpp_2m":
        assert low.history.x0_hat.dtype == torch.float32 and torch.equal(low.history.x0_hat, high.history.x0_hat)


@pytest.mark.parametrize(("solver", "slope"), [("euler", -0.3), ("heun", -0.15), ("dpmpp_2m", -0.45)])
def test_gradient_flows_to_the_velocity(solver, slope):
    """dt = -.3; half of it where the second call is held; of dpmpp_2m the correction, -.5 x0_hat with weight (1 - .4)
    / 2, comes on top."""
    x, v, before = latents(dtype=torch.float64)
    v.requires_grad_()
    taken = solve(solver, x, v, 0.5, 0.2, history=History(before, 0.8), velocity=lambda at, sigma: before)
    (found,) = torch.autograd.grad(taken.prev.sum(), v)
    torch.testing.assert_close(found, torch.full_like(v, slope), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": 0.5, "sigma_next": 0.5}, "0 <= sigma_next < sigma <= 1"),
        ({"sigma": 1.5}, "0 <= sigma_next < sigma <= 1"),
        ({"sigma_next": float("nan")}, "0 <= sigma_next < sigma <= 1"),
        ({"sigma_next": -0.1}, "0 <= sigma_next < sigma <= 1"),
        ({"v": torch.zeros(4, 3, 8, 1)}, "v has shape"),
        ({"solver": "heun"}, "heun calls the model a second time"),
        ({"history": History(torch.zeros(3, 3, 8, 8), 0.9)}, r"history\.x0_hat has shape"),
        ({"history": History(torch.zeros(4, 3, 8, 8), 0.8)}, r"began at sigma 0\.8, this one at 0\.8"),
    ],
)
def test_bad_arguments_are_named(change, message):
    x, v, _ = latents()
    arguments = {"solver": "dpmpp_2m", "x": x, "v": v, "sigma": 0.8, "sigma_next": 0.5} | change
    with pytest.raises(ConfigError, match=message):
        solve(**arguments)


def test_an_unknown_solver_gets_the_close_name():
    x, v, _ = latents()
    with pytest.raises(
        UnknownName, match=r"unknown solver 'hein'\. Did you mean 'heun'\? Known: euler, heun, dpmpp_2m"
    ):
        solve("hein", x, v, 0.8, 0.5)
    with pytest.raises(UnknownName, match="Did you mean 'dpmpp_2m'"):
        model_calls("dpm_2m", 10)
