"""GRPO-Guard (arXiv 2510.22319): a ratio that is centred and of one scale on every step, and gradients in balance."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from flowbench.objective_config import GRPOGuardConfig
from flowbench.sampling.steps import in_float64
from flowbench.trainer.objectives.flow_grpo import clipped_loss
from flowbench.trainer.objectives.kl import path_kl
from flowbench.trainer.objectives.replayed import (
    CLIPPED,
    DIVERGENCE,
    KL,
    RATIO,
    PolicyLoss,
    Replay,
    ReplayedSteps,
    log_densities,
    old_mean,
)
from flowbench.trainer.trajectory import Transition


def guarded_ratio(log_prob: Tensor, log_prob_old: Tensor, mean: Tensor, mean_old: Tensor, std: Tensor) -> Tensor:
    """exp((log_prob - log_prob_old + b) * std), b = mean((mean - mean_old)^2) / (2 std^2), per sample: (B,) float64.

    log_prob (with gradient), log_prob_old: (B,), the Gaussian log-densities as means over elements
    (`gaussian_log_prob`, on a "cps" step too). mean (with gradient), mean_old (none is taken): (B, ...), of the step
    under the policy and under the one that took it. std > 0: (B, 1, ..., 1), of the step, sqrt(-dt) included.

    With d = mean - mean_old and the noise z that was drawn, the log-ratio is mean(z d) / std - b: its mean under the
    old policy is -b, and clipping to 1 +- c is lopsided (section 3, RatioNorm). With b added back it is mean(z d) /
    std, whose mean is 0, and times std it is mean(z d), of one scale at every noise level. Gradient flows through b as
    through log_prob, as in the published code: so that the gradient, mean(z grad d), has mean 0 under the old policy as
    well. A b without gradient would leave -mean(d grad d) / std, a pull to the old policy that no reward asks for.

    Departs from the published code, whose b is the mean over all samples of the batch instead of each sample's own: no
    sample's log-ratio is centred then, and the loss depends on the micro-batch.
    """
    bias = path_kl(in_float64(mean), in_float64(mean_old), in_float64(std))
    log_ratio = in_float64(log_prob) - in_float64(log_prob_old.detach())
    return torch.exp((log_ratio + bias) * in_float64(std).reshape(-1))


class GRPOGuard(ReplayedSteps):
    """loss = max(-A * ratio, -A * clip(ratio)) / -dt + kl_weight * KL, with the guarded ratio.

    What differs from `flow_grpo` in the first, strictly on-policy update is the weight of each step alone: std / -dt.
    """

    config = GRPOGuardConfig
    stores = ("transitions", "means")
    sums = (*ReplayedSteps.sums, "divergence")
    figures = (*RATIO, *CLIPPED, DIVERGENCE, KL)

    settings: GRPOGuardConfig

    def ratio(self, now: Replay, transition: Transition) -> Tensor:
        log_prob, log_prob_old = log_densities(now, transition)
        return guarded_ratio(log_prob, log_prob_old, now.step.mean, old_mean(transition), now.step.std)

    def policy_loss(self, now: Replay, transition: Transition, advantages: Tensor) -> PolicyLoss:
        clipped = clipped_loss(self.ratio(now, transition), advantages, clip=self.settings.clip_range)
        divergence = path_kl(now.step.mean.detach(), old_mean(transition), now.step.std)
        return dataclasses.replace(clipped, divergence=divergence)
