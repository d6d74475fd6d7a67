"""Flow-DPPO (arXiv 2606.11025): steps that have moved too far are left out where others clip the ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from flowbench.objective_config import DPPOConfig
from flowbench.sampling.steps import in_float64
from flowbench.trainer.objectives.kl import path_kl
from flowbench.trainer.objectives.replayed import (
    DIVERGENCE,
    DROPPED,
    KL,
    RATIO,
    PolicyLoss,
    Replay,
    ReplayedSteps,
    log_densities,
    old_mean,
)
from flowbench.trainer.trajectory import Transition


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


class DPPO(ReplayedSteps):
    """loss = -A * ratio, weighed by the step, where the step is kept, 0 where it is left out, + kl_weight * KL.

    The ratio is that of the Gaussian densities on every kind of step: on "cps" not flow_grpo's shortcut, under which
    early steps would count for more and the ratio would say nothing that D bounds.
    """

    config = DPPOConfig
    stores = ("transitions", "means")
    sums = (*ReplayedSteps.sums, "divergence")
    figures = (*RATIO, DROPPED, DIVERGENCE, KL)

    settings: DPPOConfig

    def ratio(self, now: Replay, transition: Transition) -> Tensor:
        log_prob, log_prob_old = log_densities(now, transition)
        return torch.exp(log_prob - log_prob_old)

    def policy_loss(self, now: Replay, transition: Transition, advantages: Tensor) -> PolicyLoss:
        ratio, mean_old = self.ratio(now, transition), old_mean(transition)
        fixed = ratio.detach()
        dropped = ~keeps(
            now.step.mean, mean_old, now.step.std, fixed, advantages, threshold=self.settings.threshold
        )  # fmt: skip
        loss = torch.where(dropped, 0.0, -advantages * ratio)
        divergence = path_kl(now.step.mean.detach(), mean_old, now.step.std)
        return PolicyLoss(loss, fixed, dropped & (fixed < 1), dropped & (fixed > 1), divergence)
