"""What each kind of step does to Gaussian data, in closed form.

For x0 ~ N(m, V) the exact velocity is affine in x, and so is each step's mean: a Gaussian stays Gaussian, and its
mean and variance follow from the step's coefficients, read off `step` itself (one batch row per step of the schedule).
Figures: flow_grpo.md, "Marginals", and the same recursion written out independently in NumPy.
"""

from __future__ import annotations

import math

import pytest
import torch

from flowbench.sampling import step

MEAN, VARIANCE = 1.0, 0.25


def final(steps, kind, noise_level, mean=MEAN, variance=VARIANCE):
    """Mean, and variance over `variance`, of what `steps` steps from N(0, 1) give."""
    path_mean, path_variance = propagate(steps, kind, noise_level, mean, variance)
    return path_mean[-1], path_variance[-1] / variance


def propagate(steps, kind, noise_level, mean, variance):
    sigmas = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    on_x, on_v, std = coefficients(sigmas, kind, noise_level)
    sigma = sigmas[:-1]
    # v = E[eps - x0 | x] = slope * x + offset, from the joint Gaussian of x0, eps and x
    slope = (sigma - (1 - sigma) * variance) / ((1 - sigma) ** 2 * variance + sigma**2)
    offset = -mean - slope * (1 - sigma) * mean
    path_mean, path_variance = [0.0], [1.0]
    rows = torch.stack([on_x + on_v * slope, on_v * offset, std], dim=1)
    for gain, shift, deviation in rows.tolist():
        path_mean.append(gain * path_mean[-1] + shift)
        path_variance.append(gain**2 * path_variance[-1] + deviation**2)
    return path_mean, path_variance


def coefficients(sigmas, kind, noise_level):
    one, zero = (
        torch.ones(len(sigmas) - 1, 1, dtype=torch.float64),
        torch.zeros(len(sigmas) - 1, 1, dtype=torch.float64),
    )
    arguments = {"kind": kind, "noise_level": noise_level, "noise": zero}
    on_x = step(one, zero, sigmas[:-1], sigmas[1:], **arguments)
    on_v = step(zero, one, sigmas[:-1], sigmas[1:], **arguments)
    return on_x.mean.flatten(), on_v.mean.flatten(), on_x.std.flatten()


@pytest.mark.parametrize(
    ("steps", "ratio"), [(10, 0.91985), (20, 0.96598), (40, 0.98947), (160, 1.00363), (2560, 1.00265), (10240, 1.00148)]
)
def test_flow_has_the_ode_marginals_in_the_limit(steps, ratio):
    mean, actual = final(steps, "flow", 0.7)
    assert mean == pytest.approx(MEAN, abs=1e-10)
    assert actual == pytest.approx(ratio, abs=1e-5)


def test_flow_converges_but_not_monotonically():
    """The noise is singular at sigma = 1: from below at few steps, from above at many."""
    errors = {steps: final(steps, "flow", 0.7)[1] - 1 for steps in (40, 160, 2560, 10240, 40960)}
    assert errors[40] < 0 < errors[160]
    assert 0.005 > errors[2560] > errors[10240] > errors[40960] > 0


@pytest.mark.parametrize(("kind", "noise_level"), [("ode", 0.0), ("dance", 0.3)])
def test_ode_and_dance_converge_to_first_order(kind, noise_level):
    errors = [1 - final(steps, kind, noise_level)[1] for steps in (640, 1280, 2560)]
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.02)
    assert errors[1] / errors[2] == pytest.approx(2, abs=0.02)
    assert abs(errors[2]) < 0.002


def test_euler_at_ten_steps():
    assert final(10, "ode", 0.0)[1] == pytest.approx(0.74229, abs=1e-5)


@pytest.mark.parametrize("kind", ["flow", "cps", "dance"])
def test_noise_level_zero_has_the_euler_marginals(kind):
    assert final(10, kind, 0.0) == pytest.approx(final(10, "ode", 0.0), abs=1e-12)


@pytest.mark.parametrize(
    ("steps", "ratio"), [(10, 0.49502), (20, 0.55802), (40, 0.59623), (160, 0.63301), (10240, 0.65331)]
)
def test_cps_contracts_spread_data_at_any_step_size(steps, ratio):
    mean, actual = final(steps, "cps", 0.8)
    assert mean == pytest.approx(MEAN, abs=1e-10)
    assert actual == pytest.approx(ratio, abs=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 10, 100])
@pytest.mark.parametrize("noise_level", [0.3, 0.8, 1.0])
def test_cps_is_exact_for_a_point_mass_at_every_number_of_steps(steps, noise_level):
    means, variances = propagate(steps, "cps", noise_level, MEAN, 0.0)
    for i, sigma in enumerate(torch.linspace(1, 0, steps + 1, dtype=torch.float64).tolist()):
        assert means[i] == pytest.approx((1 - sigma) * MEAN, abs=1e-12)
        assert variances[i] == pytest.approx(sigma**2, abs=1e-12)


def test_flow_is_not_exact_for_a_point_mass():
    _, variances = propagate(10, "flow", 0.7, MEAN, 0.0)
    assert abs(math.sqrt(variances[5]) - 0.5) > 0.01
