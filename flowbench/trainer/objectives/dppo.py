"""Flow-DPPO (arXiv 2606.11025): steps that have moved too far are left out where others clip the ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from flowbench.sampling.steps import in_float64
from flowbench.trainer.objectives.kl import path_kl


@torch.no_grad()
def keeps(
    mean: Tensor, mean_old: Tensor, std: Tensor, ratio: Tensor, advantages: Tensor, *, threshold: float
) -> Tensor:
    """Which samples' steps are learned from: (B,) bool.

    False where D = mean((mean - mean_old)^2) / (2 std^2), the KL between the step's two Gaussians per element, is
    `threshold` or more and the update would push further out: advantage > 0 and ratio > 1, or advantage < 0 and ratio
    < 1. A step beyond the threshold that would come back is kept: it is how the policy returns.

    mean, mean_old: (B, ...), of the step under the policy and under the one that took it; std > 0: (B, 1, ..., 1);
    ratio, advantages: (B,); published threshold: 1e-5, for latents of about 65,000 elements.
    """
    divergence = path_kl(in_float64(mean), in_float64(mean_old), in_float64(std))
    outward = ((advantages > 0) & (ratio > 1)) | ((advantages < 0) & (ratio < 1))
    return ~((divergence >= threshold) & outward.to(divergence.device))
