"""What the trajectory family shares: the recorded steps of a rollout, replayed under the policy that is trained."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from flowbench.objective_config import TrajectoryConfig
from flowbench.sampling.schedule import MovingWindow, stochastic_steps
from flowbench.sampling.steps import Step, gaussian_log_prob
from flowbench.sampling.steps import step as take_step
from flowbench.trainer.groups import Group
from flowbench.trainer.objectives.base import Comparison, Figure, Objective, Stored, Term
from flowbench.trainer.objectives.kl import kl_penalty
from flowbench.trainer.objectives.step_weights import step_weight
from flowbench.trainer.policy import Policy
from flowbench.trainer.trajectory import Bundle, Moment, Transition

RATIO = (
    Figure(
        "policy/ratio_mean", "mean probability of a step under the policy over that when it was sampled",
        shown="ratio {:.5f}",
    ),
    Figure("policy/ratio_std", "its standard deviation; 0 in the first of `optimizer.updates`"),
)  # fmt: skip
CLIPPED = (
    Figure(
        "policy/clip_low", "share of steps with a ratio below 1 - clip_range",
        healthy=(0, 0.3), shown="clipped low {:.0%}",
    ),
    Figure(
        "policy/clip_high", "share of steps with a ratio above 1 + clip_range", healthy=(0, 0.3), shown="high {:.0%}",
    ),
)  # fmt: skip
DROPPED = Figure("policy/dropped", "share of steps that were left out", healthy=(0, 0.3), shown="dropped {:.0%}")
DIVERGENCE = Figure(
    "policy/divergence", "KL per latent element of a step's Gaussian to the one that it was drawn from",
    direction="lower", shown="divergence {:.1g}",
)  # fmt: skip
KL = Figure("policy/kl", "KL to the reference in the form of `objective.kl`", direction="lower", shown="kl {:.2g}")


@dataclass(frozen=True)
class PolicyLoss:
    """B samples at one trained step. Vectors, so that sums over micro-batches of any size are exact.

    loss        (B,) with gradient: sum it, divide by the number of scored samples times trained steps of the update
    ratio       (B,) detached: probability of the step under the policy over that under the policy that took it
    below       (B,) bool: held back with a ratio below 1
    above       (B,) bool: held back with a ratio above 1
    divergence  (B,) detached: KL per element to the step's Gaussian under the policy that took it; None: not measured
    """

    loss: Tensor
    ratio: Tensor
    below: Tensor
    above: Tensor
    divergence: Tensor | None = None


class Replay(NamedTuple):
    """The policy's velocity (B, C, h, w) and step at one recorded transition."""

    velocity: Tensor
    step: Step


class ReplayedSteps(Objective):
    """Every recorded step is replayed with gradient, in exactly the batch in which it was sampled.

    loss = weight of the step * policy loss + kl_weight * KL, over scored members and steps. The first update of a
    training step is exactly on-policy. Groups without advantages are not replayed when there is no KL: they could add
    nothing but time (the rest of their micro-batch is then replayed without them, equal up to rounding).
    """

    stores: ClassVar[tuple[Stored, ...]] = ("transitions",)
    sums: ClassVar[tuple[str, ...]] = ("excess", "excess_square", "below", "above", "kl", "replayed")
    compares = "|ratio - 1|"

    settings: TrajectoryConfig

    @abstractmethod
    def ratio(self, now: Replay, transition: Transition) -> Tensor:
        """Of each sample, (B,) float64 with gradient: exactly 1 under the policy that took the step."""

    @abstractmethod
    def policy_loss(self, now: Replay, transition: Transition, advantages: Tensor) -> PolicyLoss:
        """Of each sample; advantages (B,), 0 for one from which there is nothing to learn."""

    def noisy_steps(self, group: Group) -> tuple[int, ...]:
        """All but the last, or a window that the whole group shares."""
        rollout = self.rollout
        return stochastic_steps(
            rollout.steps, rollout.window, rollout.last_window_step,
            seed=group.seed, step=group.step, group=group.index,
            moving=None if rollout.moving_window is None else MovingWindow(**rollout.moving_window),
        )  # fmt: skip

    def terms(self, policy: Policy, bundle: Bundle) -> Iterator[Term]:
        for moment in bundle.moments:
            taught = moment if self.settings.kl_weight > 0 else moment.taught()
            if moment.count == 0 or not (self.settings.kl_weight > 0 or taught.signal.any()):
                yield Term(torch.zeros(len(moment.signal)), count=moment.count)
            else:
                yield replace(self._term(policy, taught), count=moment.count)

    def check(self, policy: Policy, bundle: Bundle) -> Iterator[Comparison]:
        """Replaying the rollout must give back its own log-probs."""
        for moment in bundle.moments:
            now = self._replay(policy, moment.transition)
            error = (self.ratio(now, moment.transition).detach() - 1).abs()
            with policy.reference():
                reference = self._replay(policy, moment.transition).velocity
            yield Comparison(error, now.velocity, reference, now.step.log_prob)

    def logged(self, totals: Mapping[str, float]) -> dict[str, float]:
        """NaN where nothing was replayed, or (KL) nothing was measured."""
        replayed = totals["replayed"] or math.nan
        excess = totals["excess"] / replayed
        values = {
            "policy/ratio_mean": 1 + excess,
            "policy/ratio_std": max(0.0, totals["excess_square"] / replayed - excess**2) ** 0.5,
            "policy/clip_low": totals["below"] / replayed,
            "policy/clip_high": totals["above"] / replayed,
            "policy/dropped": (totals["below"] + totals["above"]) / replayed,
            "policy/divergence": totals.get("divergence", math.nan) / replayed,
            "policy/kl": totals["kl"] / replayed,
        }
        return {figure.name: values[figure.name] for figure in self.figures}

    def _term(self, policy: Policy, moment: Moment) -> Term:
        transition = moment.transition
        now = self._replay(policy, transition)
        device = now.step.log_prob.device
        scored = moment.scored.to(device)
        learned = self.policy_loss(now, transition, moment.signal.to(device))
        kl = self._kl(policy, transition, now)
        penalty = 0.0 if kl is None else self.settings.kl_weight * kl
        excess = torch.where(scored, learned.ratio - 1, 0.0)  # the square of the ratio itself would drown in rounding
        figures = {
            "excess": excess.sum(),
            "excess_square": excess.square().sum(),
            "below": (learned.below & scored).sum(),
            "above": (learned.above & scored).sum(),
            "kl": math.nan if kl is None else torch.where(scored, kl.detach(), 0.0).sum(),
            "replayed": moment.count,
        }
        if learned.divergence is not None:
            figures["divergence"] = torch.where(scored, learned.divergence, 0.0).sum()
        loss = self._weight(policy, transition) * learned.loss + penalty
        return Term(torch.where(scored, loss, 0.0), figures, moment.count)

    def _weight(self, policy: Policy, transition: Transition) -> float:
        """How much the step counts, beside all in which the rollout may draw noise."""
        rollout = self.rollout
        pairs = list(pairwise(policy.model.sigmas(rollout.steps).tolist()))
        return step_weight(
            self.settings.step_weight, (transition.sigma, transition.sigma_next),
            pairs[: rollout.steps - 1 if rollout.window is None else rollout.last_window_step],
            kind=rollout.kind, noise_level=float(rollout.noise_level or 0.0),
        )  # fmt: skip

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


def old_mean(transition: Transition) -> Tensor:
    """The step's mean under the policy that took it."""
    if transition.mean is None:
        raise RuntimeError("the rollout has kept no means of its steps, which this objective stores")
    return transition.mean


def log_densities(now: Replay, transition: Transition) -> tuple[Tensor, Tensor]:
    """The step's Gaussian log-density under the policy (with gradient) and under the one that took it: (B,) each."""
    mean, std, prev = now.step.mean, now.step.std, transition.prev
    return gaussian_log_prob(prev, mean, std), gaussian_log_prob(prev, old_mean(transition), std)
