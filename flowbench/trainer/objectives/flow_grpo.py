"""Flow-GRPO (arXiv 2505.05470): the clipped policy gradient on the stochastic steps of the rollout."""

from __future__ import annotations

import torch
from torch import Tensor

from flowbench.objective_config import FlowGRPOConfig
from flowbench.trainer.objectives.replayed import CLIPPED, KL, RATIO, PolicyLoss, Replay, ReplayedSteps
from flowbench.trainer.trajectory import Transition


def policy_loss(log_prob: Tensor, log_prob_old: Tensor, advantages: Tensor, *, clip: float) -> PolicyLoss:
    """`clipped_loss` of the ratio exp(log_prob - log_prob_old).

    log_prob (with gradient), log_prob_old, advantages: (B,). log_prob is a mean over latent elements (`sampling.step`),
    so the ratio is that of the geometric mean per element, and clip is tiny: 1e-4 for latents of 65,536 elements.
    """
    return clipped_loss(torch.exp(log_prob - log_prob_old.detach()), advantages, clip=clip)


def clipped_loss(ratio: Tensor, advantages: Tensor, *, clip: float) -> PolicyLoss:
    """loss = max(-A * ratio, -A * clip(ratio, 1 - clip, 1 + clip)) per sample; below, above: beyond 1 -+ clip.

    ratio (with gradient), advantages: (B,). Unscored samples and degenerate groups come with A = 0: they add exactly 0,
    in value and gradient. Leave unscored samples out of the divisor; keep degenerate groups in it.
    """
    clipped = ratio.clamp(1 - clip, 1 + clip)
    loss = torch.maximum(-advantages * ratio, -advantages * clipped)
    fixed = ratio.detach()
    return PolicyLoss(loss, fixed, fixed < 1 - clip, fixed > 1 + clip)


class FlowGRPO(ReplayedSteps):
    """loss = max(-A * ratio, -A * clip(ratio)), weighed by the step, + kl_weight * KL.

    On "cps" steps log_prob is the published shortcut, to which the published clip range is tuned (`sampling.step`).
    """

    config = FlowGRPOConfig
    figures = (*RATIO, *CLIPPED, KL)

    settings: FlowGRPOConfig

    def ratio(self, now: Replay, transition: Transition) -> Tensor:
        return torch.exp(now.step.log_prob - transition.log_prob)

    def policy_loss(self, now: Replay, transition: Transition, advantages: Tensor) -> PolicyLoss:
        return clipped_loss(self.ratio(now, transition), advantages, clip=self.settings.clip_range)
