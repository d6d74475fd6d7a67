"""Flow-GRPO (arXiv 2505.05470): the clipped policy gradient on the stochastic steps of the rollout."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from flowbench.objective_config import FlowGRPOConfig
from flowbench.sampling.schedule import stochastic_steps
from flowbench.sampling.steps import Step
from flowbench.sampling.steps import step as take_step
from flowbench.trainer.groups import Group
from flowbench.trainer.objectives.base import Comparison, Figure, Objective, Term
from flowbench.trainer.objectives.kl import kl_penalty
from flowbench.trainer.policy import Policy
from flowbench.trainer.trajectory import Bundle, Moment, Transition


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


class Replay(NamedTuple):
    """The policy's velocity (B, C, h, w) and step at one recorded transition."""

    velocity: Tensor
    step: Step


class FlowGRPO(Objective):
    """Every recorded step is replayed with gradient, in exactly the batch in which it was sampled.

    loss = max(-A * ratio, -A * clip(ratio)) + kl_weight * KL, over scored members and steps. The first update of a
    training step is exactly on-policy. A micro-batch without advantages is not replayed when there is no KL: it could
    add nothing but time.
    """

    config = FlowGRPOConfig
    stores = ("transitions",)
    sums = ("excess", "excess_square", "below", "above", "kl", "replayed")
    compares = "|ratio - 1|"
    figures = (
        Figure(
            "policy/ratio_mean", "mean probability of a step under the policy over that when it was sampled",
            shown="ratio {:.5f}",
        ),
        Figure("policy/ratio_std", "its standard deviation; 0 in the first of `optimizer.updates`"),
        Figure(
            "policy/clip_low", "share of steps with a ratio below 1 - clip_range",
            healthy=(0, 0.3), shown="clipped low {:.0%}",
        ),
        Figure(
            "policy/clip_high", "share of steps with a ratio above 1 + clip_range",
            healthy=(0, 0.3), shown="high {:.0%}",
        ),
        Figure("policy/kl", "KL to the reference in the form of `objective.kl`", direction="lower", shown="kl {:.2g}"),
    )  # fmt: skip

    settings: FlowGRPOConfig

    def noisy_steps(self, group: Group) -> tuple[int, ...]:
        """All but the last, or a window that the whole group shares."""
        rollout = self.rollout
        return stochastic_steps(
            rollout.steps, rollout.window, rollout.last_window_step,
            seed=group.seed, step=group.step, group=group.index,
        )  # fmt: skip

    def terms(self, policy: Policy, bundle: Bundle) -> Iterator[Term]:
        for moment in bundle.moments:
            if moment.count == 0 or (self.settings.kl_weight == 0 and not moment.signal.any()):
                yield Term(torch.zeros(len(moment.signal)), count=moment.count)
            else:
                yield self._term(policy, moment)

    def check(self, policy: Policy, bundle: Bundle) -> Iterator[Comparison]:
        """Replaying the rollout must give back its own log-probs."""
        for moment in bundle.moments:
            now = self._replay(policy, moment.transition)
            error = (torch.exp(now.step.log_prob.detach() - moment.transition.log_prob) - 1).abs()
            with policy.reference():
                reference = self._replay(policy, moment.transition).velocity
            yield Comparison(error, now.velocity, reference, now.step.log_prob)

    def logged(self, totals: Mapping[str, float]) -> dict[str, float]:
        """NaN where nothing was replayed, or (KL) nothing was measured."""
        replayed = totals["replayed"] or math.nan
        excess = totals["excess"] / replayed
        return {
            "policy/ratio_mean": 1 + excess,
            "policy/ratio_std": max(0.0, totals["excess_square"] / replayed - excess**2) ** 0.5,
            "policy/clip_low": totals["below"] / replayed,
            "policy/clip_high": totals["above"] / replayed,
            "policy/kl": totals["kl"] / replayed,
        }

    def _term(self, policy: Policy, moment: Moment) -> Term:
        now = self._replay(policy, moment.transition)
        device = now.step.log_prob.device
        scored = moment.scored.to(device)
        clipped = policy_loss(
            now.step.log_prob, moment.transition.log_prob, moment.signal.to(device), clip=self.settings.clip_range
        )
        kl = self._kl(policy, moment.transition, now)
        penalty = 0.0 if kl is None else self.settings.kl_weight * kl
        excess = torch.where(scored, clipped.ratio - 1, 0.0)  # the square of the ratio itself would drown in rounding
        figures = {
            "excess": excess.sum(),
            "excess_square": excess.square().sum(),
            "below": (clipped.below & scored).sum(),
            "above": (clipped.above & scored).sum(),
            "kl": math.nan if kl is None else torch.where(scored, kl.detach(), 0.0).sum(),
            "replayed": moment.count,
        }
        return Term(torch.where(scored, clipped.loss + penalty, 0.0), figures, moment.count)

    def _kl(self, policy: Policy, transition: Transition, now: Replay) -> Tensor | None:
        if self.settings.kl_weight == 0:
            return None
        with policy.reference():
            reference = self._replay(policy, transition)
        return kl_penalty(
            self.settings.kl, now.step, reference.step, now.velocity, reference.velocity,
            kind=self.rollout.kind, sigma=transition.sigma, sigma_next=transition.sigma_next,
        )  # fmt: skip

    def _replay(self, policy: Policy, transition: Transition) -> Replay:
        """The current policy on a transition, in exactly the call in which it was sampled."""
        kept = transition.velocity if torch.is_grad_enabled() else None
        if kept is None:
            kept = policy.velocity(transition.x, transition.sigma, transition.condition)
        velocity = transition.of_each(kept)
        step = take_step(
            transition.of_each(transition.x), velocity, transition.sigma, transition.sigma_next,
            kind=self.rollout.kind, noise_level=float(self.rollout.noise_level or 0.0), prev=transition.prev,
        )  # fmt: skip
        return Replay(velocity, step)
