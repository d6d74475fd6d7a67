"""Advantage weighted matching (AWM, arXiv 2509.25050): the clipped policy loss on a log-prob of the forward process.

How well a velocity explains a picture that was noised anew stands in for the picture's log-probability; its ratio to
the value under the weights that sampled is raised or lowered by the advantage, as in PPO, within a clip so wide that it
only stops what has run away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from flowbench.config import RolloutConfig
from flowbench.errors import UnknownName
from flowbench.forward_config import AWMConfig
from flowbench.registry import did_you_mean
from flowbench.sampling.steps import in_float64
from flowbench.trainer.learner import BEHAVIOUR, LIVE, Shadow
from flowbench.trainer.objectives.base import Figure
from flowbench.trainer.objectives.flow_grpo import policy_loss
from flowbench.trainer.objectives.forward import ForwardObjective, Noised
from flowbench.trainer.objectives.matching import flow_error
from flowbench.trainer.policy import Policy

SAMPLED = "sampled"
"""The shadow that holds the live weights as they were when this training step's pictures were sampled."""
WEIGHTINGS = ("uniform", "t", "t2", "huber", "ghuber")
SMALLEST = 1e-10
"""Added to the error below a root, whose slope at 0 has no bound."""


def surrogate_log_prob(
    v: Tensor, x0: Tensor, noise: Tensor, t: Tensor | float, *, weighting: str = "ghuber", power: float = 0.25
) -> Tensor:
    """How well v explains x0 at noise level t: (B,) float64, at most 0, gradient to v.

    With e = mean((v - (noise - x0))^2), as `weighting` in the published code (scxue/advantage_weighted_matching):

    uniform   -e
    t, t2     -t e, -t^2 e
    huber     -t ((e + 1e-10)^(1/2) - 1e-5)
    ghuber    -t ((e + 1e-10)^power - 1e-10^power) / power, whose power .25 the published runs take

    v, x0, noise: (B, ...); t: a number or (B,), in (0, 1]. Raises UnknownName for another weighting.
    """
    error = flow_error(v, x0, noise)
    level = in_float64(t).to(error.device) if isinstance(t, Tensor) else t
    if weighting == "uniform":
        return -error
    if weighting == "t":
        return -level * error
    if weighting == "t2":
        return -(level**2) * error
    if weighting == "huber":
        return -level * _root(error, 0.5)
    if weighting == "ghuber":
        return -level * _root(error, power) / power
    guess = did_you_mean(weighting, WEIGHTINGS)
    raise UnknownName(f"unknown weighting '{weighting}'.{guess} Known: {', '.join(WEIGHTINGS)}.")


def _root(error: Tensor, power: float) -> Tensor:
    """error^power, but 0 with a finite slope where the error is 0."""
    return (error + SMALLEST) ** power - SMALLEST**power


class AWM(ForwardObjective):
    """The clipped policy loss on the surrogate log-prob, advantages divided by advantage_clip / advantage_max.

    Its ratio is to the value under the weights that sampled the pictures: the live ones of the step's beginning, so
    that it is 1 in the first update, or with `off_policy` the behaviour copy.

    Where this departs from the published code: noise levels are each picture's own (there one draw per stratum of the
    schedule for a whole batch, its first level left out); its SA-solver is not offered.
    """

    config = AWMConfig
    sums = (*ForwardObjective.sums, "ratio", "below", "above")
    figures = (
        *ForwardObjective.figures,
        Figure(
            "policy/ratio_mean", "mean of the surrogate's likelihood ratio to the weights that sampled",
            healthy=(0.8, 1.25), shown="ratio {:.4f}",
        ),
        Figure("policy/clip_low", "share of noised pictures with a ratio below 1 - clip_range", healthy=(0, 0.3)),
        Figure("policy/clip_high", "share of noised pictures with a ratio above 1 + clip_range", healthy=(0, 0.3)),
    )  # fmt: skip

    settings: AWMConfig

    def __init__(self, settings: AWMConfig, rollout: RolloutConfig):
        super().__init__(settings, rollout)
        self.samples_with = BEHAVIOUR if settings.off_policy else LIVE

    def shadows(self) -> dict[str, Shadow]:
        if self.settings.off_policy:
            return super().shadows()
        kept = super().shadows() if self.settings.behaviour_weight > 0 else {}
        return {**kept, SAMPLED: Shadow(lambda step: 0.0)}

    def compared(self, policy: Policy) -> set[str]:
        names = super().compared(policy)
        if self.settings.off_policy:
            return names
        if self.settings.behaviour_weight == 0:
            names.remove(BEHAVIOUR)
        return names | {SAMPLED} if policy.learner.config.updates > 1 else names

    def signal(self, rewards: Tensor, group_ids: Tensor) -> Tensor:
        settings = self.settings
        return super().signal(rewards, group_ids) / settings.advantage_clip * settings.advantage_max

    def loss(self, at: Noised, v: Tensor, signal: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        now = self._log_prob(at, v)
        stored = at.velocities.get(BEHAVIOUR if self.settings.off_policy else SAMPLED)
        old = now.detach() if stored is None else self._log_prob(at, stored)  # the only update is on-policy
        taken = policy_loss(now, old, signal, clip=self.settings.clip_range)
        return taken.loss, {"ratio": taken.ratio, "below": taken.below.double(), "above": taken.above.double()}

    def logged(self, totals: Mapping[str, float]) -> dict[str, float]:
        learned = totals["learned"] or math.nan
        own = {"policy/ratio_mean": "ratio", "policy/clip_low": "below", "policy/clip_high": "above"}
        return {**super().logged(totals), **{name: totals[each] / learned for name, each in own.items()}}

    def _log_prob(self, at: Noised, v: Tensor) -> Tensor:
        return surrogate_log_prob(v, at.x0, at.noise, at.t, weighting=self.settings.weighting)
