"""One interval of a flow model's ODE dx/dsigma = v(x, sigma), from sigma down to sigma_next, by solvers of two orders.

euler     first order, one model call: what today's pictures are made with
heun      second order, two model calls: the explicit trapezoid rule (Karras et al., arXiv 2206.00364, algorithm 1
          without its noise). The last interval, which ends at sigma 0, is an Euler step
dpmpp_2m  second order, one model call: DPM-Solver++(2M) (Lu et al., arXiv 2211.01095, algorithm 2) in its midpoint
          form. It remembers the interval before

In n intervals from 1 to 0 the error of euler falls as 1 / n, of heun as 1 / n^2, of dpmpp_2m as log(n) / n^2: its last
intervals are long in lambda, however many there are (tests/sampling/test_solvers.py, on Gaussian data, whose solution
is known).

`heun` and `dpmpp_2m` equal diffusers' FlowMatchHeunDiscreteScheduler and DPMSolverMultistepScheduler (dpmsolver++,
order 2, midpoint, flow sigmas, flow_prediction) on the same sigmas. Of the latter we depart in what lies around the
interval: its own schedule begins below sigma 1 (.999, then shifted), where ours begins at 1, and it cuts the times
that the model is given to whole thousandths, which we do not. Where a schedule begins at 1, lambda is minus infinity,
so that the second interval still has no correction, there as here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from flowbench.errors import ConfigError
from flowbench.solver_names import SOLVERS, check_solver, model_calls

__all__ = ["SOLVERS", "History", "Solved", "model_calls", "solve"]
Velocity = Callable[[Tensor, float], Tensor]
"""velocity(x, sigma) -> v, of the shape of x."""


class History(NamedTuple):
    """What `dpmpp_2m` remembers of the interval before. B rows, as x has them: a caller who takes, repeats or joins
    rows of x does the same to `x0_hat` (`history._replace(x0_hat=history.x0_hat[rows])`)."""

    x0_hat: Tensor
    """(B, ...): the data that the velocity at its beginning pointed to, float32 or better"""
    sigma: float
    """at its beginning"""


class Solved(NamedTuple):
    """What one interval gives."""

    prev: Tensor
    """(B, ...): the latents at sigma_next, shape and dtype of x; gradient flows to v"""
    history: History | None
    """for the next interval; None of a solver that remembers nothing"""


def solve(
    solver: str,
    x: Tensor,
    v: Tensor,
    sigma: float,
    sigma_next: float,
    *,
    history: History | None = None,
    velocity: Velocity | None = None,
) -> Solved:
    """Go from sigma to sigma_next, 1 >= sigma > sigma_next >= 0, by one of SOLVERS.

    x, v: (B, ...) of one shape; v is the velocity at (x, sigma). `velocity` is called once more by "heun", at
    (an Euler step further, sigma_next), unless sigma_next is 0; the others never call it. `history`: what the interval
    before gave, or None to begin afresh at first order, as after a step with noise; only "dpmpp_2m" looks at it.

    Coefficients are in float64, arithmetic in float32 or better whatever the input. Intervals of first order (those of
    "euler"; of "dpmpp_2m" one without a history, the second of a schedule from 1, and the last; of "heun" the last)
    equal `step(kind="ode")` to the bit.

    Raises UnknownName for a bad solver, ConfigError for bad sigmas or shapes, and where "heun" is given no `velocity`.
    """
    check_solver(solver)
    _check(x, v, sigma, sigma_next, history)
    working = torch.promote_types(torch.promote_types(x.dtype, v.dtype), torch.float32)
    here, slope = x.to(working), v.to(working)
    there = here + (sigma_next - sigma) * slope
    if solver == "heun" and sigma_next > 0:
        if velocity is None:
            raise ConfigError("sampling.solve: heun calls the model a second time: give `velocity`.")
        slope = (slope + velocity(there.to(x.dtype), sigma_next).to(working)) / 2
        there = here + (sigma_next - sigma) * slope
    if solver != "dpmpp_2m":
        return Solved(there.to(x.dtype), None)
    x0_hat = here - sigma * slope
    if history is not None and (weight := _correction(history.sigma, sigma, sigma_next)):
        there = there + weight * (x0_hat - history.x0_hat)
    return Solved(there.to(x.dtype), History(x0_hat, sigma))


def _correction(before: float, sigma: float, sigma_next: float) -> float:
    """The weight of x0_hat(sigma) - x0_hat(before) in `dpmpp_2m`; 0 after sigma 1 and up to sigma 0, the limits there.

    With alpha = 1 - sigma, lambda = log(alpha / sigma), h = lambda(sigma_next) - lambda(sigma), r = (lambda(sigma) -
    lambda(before)) / h (arXiv 2211.01095, algorithm 2, of which x0_hat is the data prediction):

        x_next = sigma_next / sigma * x + alpha_next * (1 - exp(-h)) * (x0_hat + (x0_hat - x0_hat_before) / (2 r))

    Here alpha_next * (1 - exp(-h)) is 1 - sigma_next / sigma, so that all but the last term is Euler's step.
    """
    if before == 1 or sigma_next == 0:
        return 0.0
    h, h_before = _lambda(sigma_next) - _lambda(sigma), _lambda(sigma) - _lambda(before)
    return (1 - sigma_next / sigma) * h / (2 * h_before)


def _lambda(sigma: float) -> float:
    """Half the log signal-to-noise ratio, log((1 - sigma) / sigma), of a sigma between 0 and 1."""
    return math.log1p(-sigma) - math.log(sigma)


def _check(x: Tensor, v: Tensor, sigma: float, sigma_next: float, history: History | None) -> None:
    if not 0 <= sigma_next < sigma <= 1:
        raise ConfigError(f"an interval from sigma {sigma} to {sigma_next}: it needs 0 <= sigma_next < sigma <= 1.")
    held = {"v": v.shape} if history is None else {"v": v.shape, "history.x0_hat": history.x0_hat.shape}
    for name, shape in held.items():
        if shape != x.shape:
            shapes = f"{name} has shape {tuple(shape)}, x has {tuple(x.shape)}"
            raise ConfigError(f"sampling.solve: {shapes}: make them equal.")
    if history is not None and not sigma < history.sigma <= 1:
        raise ConfigError(
            f"sampling.solve: the interval before began at sigma {history.sigma}, this one at {sigma}: it has to be "
            "the next one."
        )
