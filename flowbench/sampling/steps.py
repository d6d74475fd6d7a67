"""One step of a flow model from sigma to sigma_next: deterministic (`ode`) or with noise (`flow`, `cps`, `dance`).

x_sigma = (1 - sigma) * x0 + sigma * eps and v = eps - x0, so x0_hat = x - sigma * v, eps_hat = x + (1 - sigma) * v.
Sigma falls from 1 to 0: dt = sigma_next - sigma < 0. Every kind's mean is affine in x and v; its equation gives the
coefficients and the std, in float64, and `step` applies them. Noise level 0 is the Euler ODE step for every kind.

Marginals, on Gaussian data with the exact velocity: `ode`, `flow` and `dance` reach the data's in the limit of small
steps. `cps` does not at any step size: it re-noises a posterior mean, so it is exact for a point mass at every number
of steps, but contracts spread data (variance .25, a = .8: to .495 of it in 10 steps, .653 in 10,240).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from flowbench.errors import ConfigError, UnknownName
from flowbench.registry import did_you_mean


class Step(NamedTuple):
    """What one step gives. B samples; `mean` and `std` are float32 (float64 for float64 input).

    prev      the next latents, shape and dtype of x
    mean      shape of x; gradient flows to v
    std       (B, 1, ..., 1): the step's full standard deviation, sqrt(-dt) included
    log_prob  (B,) float64: of `prev`, a mean over latent elements; gradient flows to v through `mean` only
    """

    prev: Tensor
    mean: Tensor
    std: Tensor
    log_prob: Tensor


class Coefficients(NamedTuple):
    """mean = on_x * x + on_v * v, and the standard deviation around it."""

    on_x: Tensor
    on_v: Tensor
    std: Tensor


def step(
    x: Tensor,
    v: Tensor,
    sigma: float | Tensor,
    sigma_next: float | Tensor,
    *,
    kind: str = "flow",
    noise_level: float = 0.7,
    noise: Tensor | None = None,
    prev: Tensor | None = None,
) -> Step:
    """Take (`noise` given) or replay (`prev` given) one step from sigma to sigma_next.

    x, v, noise, prev: (B, ...), all of one shape. sigma > sigma_next >= 0: floats or (B,) tensors (these unchecked).
    kind: "flow" (Flow-GRPO), "cps" (Flow-CPS, noise level in [0, 1]), "dance" (DanceGRPO), "ode" (no noise level).

    With `noise`, prev = mean + std * noise, rounded to the dtype of x before its log-prob is taken: what is stored is
    what is scored, and its replay by the same arithmetic gives the same log-prob to the bit. A step of std 0 needs
    neither. Arithmetic is in float32 or better whatever the input; log-probs are float64 (mps has none: on the CPU).

    log_prob of "flow" and "dance" is the Gaussian log-density, `Normal(mean, std).log_prob(prev).mean()` per sample.
    "cps" follows its published code, to which the published clip range (1e-5) is tuned: -mean((prev - mean)^2), without
    the constants and without 1/(2 std^2). It equals 2 std^2 * (Normal.log_prob.mean() + log std + log(2 pi) / 2).
    Where std is 0 (noise level 0, "ode", "cps" at sigma_next 0) log_prob is defined as 0: never train on such a step.

    Raises ConfigError for a bad noise level, sigma or shape, UnknownName for a bad kind.
    """
    _check(kind, noise_level, x, v=v, noise=noise, prev=prev)
    precise = torch.float32 if x.device.type == "mps" else torch.float64
    sigma, sigma_next = _columns(sigma, sigma_next, x, precise)
    working = torch.promote_types(torch.promote_types(x.dtype, v.dtype), torch.float32)
    on_x, on_v, std = (term.to(working) for term in _EQUATIONS[kind](sigma, sigma_next, noise_level))
    mean = on_x * x.to(working) + on_v * v.to(working)
    if prev is None:
        if noise is None and bool((std > 0).any()):
            raise ConfigError(
                "sampling.step: std > 0 needs `noise` (to take the step) or `prev` (to replay it): give one."
            )
        prev = (mean if noise is None else mean + std * noise.to(mean.dtype)).to(x.dtype)
    return Step(prev, mean, std, _log_prob(kind, prev, mean, std))


def ode(sigma: Tensor, sigma_next: Tensor, noise_level: float) -> Coefficients:
    """Euler: mean = x + v * dt."""
    return Coefficients(torch.ones_like(sigma), sigma_next - sigma, torch.zeros_like(sigma))


def flow(sigma: Tensor, sigma_next: Tensor, noise_level: float) -> Coefficients:
    """Flow-GRPO (arXiv 2505.05470): s = a * sqrt(sigma / (1 - sigma)).

    s is singular at sigma = 1: there the published code puts the schedule's second sigma, which is sigma_next, into the
    denominator, and the step's std becomes exactly a.
    """
    denominator = torch.where(sigma == 1, 1 - sigma_next, 1 - sigma)
    std = noise_level * torch.sqrt(sigma * ((sigma - sigma_next) / denominator))  # s * sqrt(-dt)
    return _with_score(sigma, sigma_next, noise_level**2 * sigma / denominator, std)


def dance(sigma: Tensor, sigma_next: Tensor, noise_level: float) -> Coefficients:
    """DanceGRPO (arXiv 2505.07818): s = a, constant (published a: 0.3)."""
    std = noise_level * torch.sqrt(sigma - sigma_next)
    return _with_score(sigma, sigma_next, torch.full_like(sigma, noise_level**2), std)


def cps(sigma: Tensor, sigma_next: Tensor, noise_level: float) -> Coefficients:
    """Flow-CPS (arXiv 2509.05952): mean = (1 - sigma_next) * x0_hat + sqrt(sigma_next^2 - c^2) * eps_hat.

    c = sigma_next * sin(a * pi / 2) is the std, so the root is sigma_next * cos(a * pi / 2): this form stays real.
    """
    angle = noise_level * math.pi / 2
    on_data, on_noise = 1 - sigma_next, sigma_next * math.cos(angle)
    return Coefficients(on_data + on_noise, on_noise * (1 - sigma) - on_data * sigma, sigma_next * math.sin(angle))


def std_without_dt(std: Tensor, sigma: float | Tensor, sigma_next: float | Tensor) -> Tensor:
    """s of `flow` and `dance`, from the step's std = s * sqrt(-dt): (B, 1, ..., 1), like std."""
    sigma, sigma_next = _columns(sigma, sigma_next, std, std.dtype)
    return std / torch.sqrt(sigma - sigma_next)


def per_sample_mean(values: Tensor) -> Tensor:
    """(B, ...) -> (B,): the mean over each sample's elements, in float64 (on the CPU for mps, which has none)."""
    return in_float64(values).reshape(values.shape[0], -1).mean(dim=1)


def gaussian_log_prob(prev: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Normal(mean, std).log_prob(prev) as a mean over each sample's elements: (B,) float64, for every kind of step.

    prev, mean: (B, ...); std > 0: (B, 1, ..., 1). Of "flow" and "dance" it is `Step.log_prob`; of "cps" it is what
    that shortcut leaves out. `prev` is detached: the action is given, only its density depends on the policy.
    """
    std = in_float64(std)
    residual = in_float64(prev.detach()) - in_float64(mean)
    return -per_sample_mean((residual / std) ** 2) / 2 - std.reshape(-1).log() - math.log(2 * math.pi) / 2


def step_std(kind: str, sigma: Tensor, sigma_next: Tensor, noise_level: float) -> Tensor:
    """Standard deviation of the steps from sigma to sigma_next, both of one shape, which it has too: float64."""
    return _EQUATIONS[kind](in_float64(sigma), in_float64(sigma_next), noise_level).std


_EQUATIONS = {"flow": flow, "cps": cps, "dance": dance, "ode": ode}
KINDS = tuple(_EQUATIONS)


def _with_score(sigma: Tensor, sigma_next: Tensor, rate: Tensor, std: Tensor) -> Coefficients:
    """Euler-Maruyama of the SDE with the ODE's marginals: mean = x + v * dt - rate / 2 * score * dt, rate = s^2.

    score = -(x - (1 - sigma) * x0_hat) / sigma^2 = -(x + (1 - sigma) * v) / sigma.
    """
    dt = sigma_next - sigma
    half = rate / (2 * sigma)
    return Coefficients(1 + half * dt, (1 + half * (1 - sigma)) * dt, std)


def _log_prob(kind: str, prev: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(B,) float64. `prev` is detached: the action is given, only its density depends on the policy."""
    noisy = in_float64(std) > 0
    if kind == "cps":
        log_prob = -per_sample_mean((in_float64(prev.detach()) - in_float64(mean)) ** 2)
    else:
        std = torch.where(noisy, in_float64(std), 1.0)  # keeps 0 / 0 out of the gradient as well
        log_prob = gaussian_log_prob(prev, mean, std)
    return torch.where(noisy.reshape(-1), log_prob, 0.0)


def in_float64(values: Tensor) -> Tensor:
    """In float64, and on the CPU for mps, which does not have it. Gradient flows."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def _columns(
    sigma: float | Tensor, sigma_next: float | Tensor, like: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Both sigmas as (B, 1, ..., 1) tensors beside `like`."""
    known = not (isinstance(sigma, Tensor) or isinstance(sigma_next, Tensor))  # reading a tensor would stall the GPU
    if known and not 0 <= sigma_next < sigma <= 1:
        raise ConfigError(f"a step from sigma {sigma} to {sigma_next}: it needs 0 <= sigma_next < sigma <= 1.")
    return _column(sigma, like, dtype), _column(sigma_next, like, dtype)


def _column(sigma: float | Tensor, like: Tensor, dtype: torch.dtype) -> Tensor:
    values = torch.as_tensor(sigma, dtype=dtype, device=like.device).reshape(-1)
    if values.numel() not in (1, like.shape[0]):
        raise ConfigError(f"{values.numel()} sigmas for {like.shape[0]} samples: give one, or one per sample.")
    return values.expand(like.shape[0]).reshape(-1, *[1] * (like.ndim - 1))


def _check(kind: str, noise_level: float, x: Tensor, **others: Tensor | None) -> None:
    if kind not in _EQUATIONS:
        raise UnknownName(f"unknown step kind '{kind}'.{did_you_mean(kind, KINDS)} Known: {', '.join(KINDS)}.")
    if not 0 <= noise_level < math.inf or (kind == "cps" and noise_level > 1):
        limits = "a number in [0, 1]" if kind == "cps" else "a finite number of 0 or more"
        raise ConfigError(f"noise level {noise_level} for step kind '{kind}': give {limits}.")
    if others["noise"] is not None and others["prev"] is not None:
        raise ConfigError("sampling.step: both `noise` and `prev` given: `noise` takes a step, `prev` replays one.")
    for name, tensor in others.items():
        if tensor is not None and tensor.shape != x.shape:
            shapes = f"{name} has shape {tuple(tensor.shape)}, x has {tuple(x.shape)}"
            raise ConfigError(f"sampling.step: {shapes}: make them equal.")
