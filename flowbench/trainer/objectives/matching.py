"""What the forward-process losses are made of: how far a velocity is from the picture that was noised.

x0 is a picture's final latent, x_t = (1 - t) x0 + t noise, and the velocity that leads back to it is noise - x0. Errors
are per sample, (B, ...) -> (B,) float64, means over a sample's elements.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flowbench.sampling.steps import in_float64, per_sample_mean

SMALLEST_ERROR = 1e-5
"""Errors are divided by their own size, but by no less than this."""


def flow_error(v: Tensor, x0: Tensor, noise: Tensor) -> Tensor:
    """mean((v - (noise - x0))^2): the loss of pretraining. Gradient flows to v."""
    return per_sample_mean((in_float64(v) - (in_float64(noise) - in_float64(x0))) ** 2)


def normalised_error(guess: Tensor, x0: Tensor) -> Tensor:
    """mean((guess - x0)^2) / mean|guess - x0|, no gradient through the divisor, which is at least SMALLEST_ERROR.

    guess: x_t - t v, what a velocity takes the picture to be (DiffusionNFT, arXiv 2509.16117, section 3.3).
    """
    difference = guess - x0
    size = per_sample_mean(difference.detach().abs()).clamp(min=SMALLEST_ERROR)
    return per_sample_mean(difference**2) / size


def column(values: Tensor | float, like: Tensor) -> Tensor:
    """A number or (B,) as (B, 1, ..., 1), to be multiplied with `like` (B, ...)."""
    return torch.as_tensor(values, dtype=like.dtype, device=like.device).reshape(-1, *[1] * (like.ndim - 1))
