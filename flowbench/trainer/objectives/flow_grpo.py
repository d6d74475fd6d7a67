"""The clipped policy-gradient loss of Flow-GRPO (arXiv 2505.05470)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PolicyLoss:
    """B samples at one trained step. Vectors, so that sums over micro-batches of any size are exact.

    loss     (B,) with gradient: sum it, divide by the number of scored samples times trained steps of the whole update
    ratio    (B,) detached: probability of the step under the policy over that under the policy that took it
    below    (B,) bool: ratio < 1 - clip
    above    (B,) bool: ratio > 1 + clip
    """

    loss: Tensor
    ratio: Tensor
    below: Tensor
    above: Tensor


def policy_loss(log_prob: Tensor, log_prob_old: Tensor, advantages: Tensor, *, clip: float) -> PolicyLoss:
    """loss = max(-A * ratio, -A * clip(ratio, 1 - clip, 1 + clip)), ratio = exp(log_prob - log_prob_old), per sample.

    log_prob (with gradient), log_prob_old, advantages: (B,). log_prob is a mean over latent elements (`sampling.step`),
    so the ratio is that of the geometric mean per element, and clip is tiny: 1e-4 for latents of 65,536 elements.
    Unscored samples and degenerate groups come with A = 0: they add exactly 0, in value and gradient. Leave unscored
    samples out of the divisor; keep degenerate groups in it.
    """
    ratio = torch.exp(log_prob - log_prob_old.detach())
    clipped = ratio.clamp(1 - clip, 1 + clip)
    loss = torch.maximum(-advantages * ratio, -advantages * clipped)
    fixed = ratio.detach()
    return PolicyLoss(loss, fixed, fixed < 1 - clip, fixed > 1 + clip)
