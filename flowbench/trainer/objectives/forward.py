"""What the objectives share that learn on the forward process: final latents, noised anew, and velocities there.

Each is a pure loss and a small class on ForwardObjective: which velocities it compares, its loss at one noise level,
and the figures of its own. No log-prob and no recorded step is needed, so any sampler may make the pictures.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from flowbench.forward_config import ForwardConfig, LevelsConfig
from flowbench.models.base import Condition
from flowbench.sampling.steps import per_sample_mean
from flowbench.trainer.learner import BEHAVIOUR, Shadow
from flowbench.trainer.objectives.base import Comparison, Figure, Objective, Term
from flowbench.trainer.objectives.kl import velocity_kl
from flowbench.trainer.objectives.levels import noise_levels
from flowbench.trainer.objectives.matching import column
from flowbench.trainer.policy import Policy
from flowbench.trainer.trajectory import Bundle, Slice, Trajectory

REFERENCE = "reference"


@dataclass(frozen=True)
class Noised:
    """Final latents of B pictures at one noise level each, and what other weights than the live ones make of them."""

    x0: Tensor
    """(B, C, h, w)"""
    noise: Tensor
    """(B, C, h, w)"""
    t: Tensor
    """(B,), in (0, 1]"""
    condition: Condition
    """encoded prompts, B rows"""
    velocities: Mapping[str, Tensor] = field(default_factory=dict)
    """(B, C, h, w) without gradient, of the shadows and of the base ("reference") that the objective compares"""

    @cached_property
    def x_t(self) -> Tensor:
        """(1 - t) x0 + t noise."""
        t = column(self.t, self.x0)
        return (1 - t) * self.x0 + t * self.noise

    @property
    def old(self) -> Tensor:
        """The behaviour copy's velocity."""
        return self.velocities[BEHAVIOUR]

    @property
    def reference(self) -> Tensor:
        """The base's velocity."""
        return self.velocities[REFERENCE]


class LevelsObjective(Objective):
    """Pictures of the behaviour copy at `levels` noise levels each. Where those come from: `noise_levels`; each has a
    noise of its own."""

    samples_with = BEHAVIOUR

    settings: LevelsConfig

    def compared(self, policy: Policy) -> set[str]:
        """Whose velocities the loss and its penalties need beside the live one: shadows by name, and "reference"."""
        return set()

    def draws(self, trajectory: Trajectory, purpose: str, *more: int) -> list[int]:
        """A seed for each picture."""
        return trajectory.draws(purpose, *more)

    def check(self, policy: Policy, bundle: Bundle) -> Iterator[Comparison]:
        """With and without gradient the velocity must be the same."""
        for each in bundle:
            for at in self.noised(policy, each.trajectory):
                with torch.no_grad(), policy.model.adapter_frozen():
                    sampled = policy.velocity(at.x_t, at.t, at.condition)
                with policy.reference():
                    reference = policy.velocity(at.x_t, at.t, at.condition)
                v = policy.velocity(at.x_t, at.t, at.condition)
                yield Comparison((v.detach() - sampled).abs(), v, reference, per_sample_mean(v**2))

    def noised(self, policy: Policy, trajectory: Trajectory, turns: Sequence[int] | None = None) -> list[Noised]:
        """Each picture at its first, second ... noise level; `turns`: at these alone, counted from 0."""
        if trajectory.latents is None:
            raise RuntimeError("the rollout has kept no final latents, which this objective stores")
        x0, condition, settings = trajectory.latents, trajectory.condition, self.settings
        sigmas = policy.model.sigmas(self.rollout.steps)[: (settings.first_levels or self.rollout.steps) + 1]
        seeds = self.draws(trajectory, "times")
        levels = [noise_levels(sigmas, settings.levels, times=settings.times, seed=seed) for seed in seeds]
        t = torch.stack(levels, dim=1).to(x0.device)
        return [
            Noised(x0, policy.model.noise(self.draws(trajectory, "forward noise", turn)), t[turn], condition)
            for turn in (range(settings.levels) if turns is None else turns)
        ]

    def with_others(self, policy: Policy, points: Sequence[Noised], but: Set[str] = frozenset()) -> list[Noised]:
        """The same with the velocities of `compared`, whose weights are put in place once for all points. but: these
        are not computed."""
        found: dict[str, list[Tensor]] = {}
        for who in sorted(self.compared(policy) - but):
            with policy.reference() if who == REFERENCE else policy.using(who), policy.model.adapter_frozen():
                found[who] = [policy.velocity(at.x_t, at.t, at.condition) for at in points]
        return [
            replace(at, velocities={who: each[index] for who, each in found.items()}) for index, at in enumerate(points)
        ]


class ForwardObjective(LevelsObjective):
    """loss + kl_weight x mean((v - v_ref)^2) + behaviour_weight x mean((v - v_old)^2), at `levels` noise levels of each
    scored picture.

    The behaviour copy is v_old, too; after training step n (from 0) it follows the live weights
    with decay min(behaviour_rate x (n - behaviour_warmup), behaviour_decay), at least 0.
    """

    sums: ClassVar[tuple[str, ...]] = ("drift", "kl", "learned")
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            "policy/drift", "mean((v - v_old)^2): how far the policy is from the behaviour copy",
            shown="drift {:.2g}",
        ),
        Figure("policy/kl", "KL to the reference: mean((v - v_ref)^2)", direction="lower", shown="kl {:.2g}"),
    )  # fmt: skip

    settings: ForwardConfig

    @abstractmethod
    def loss(self, at: Noised, v: Tensor, signal: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss at one noise level without its penalties, (B,) with gradient, and figures of its own, (B,) each.

        v: (B, C, h, w) with gradient; signal: (B,) on the same device. Unscored pictures are left out afterwards.
        """

    def compared(self, policy: Policy) -> set[str]:
        return {BEHAVIOUR} | ({REFERENCE} if self.settings.kl_weight > 0 else set())

    def shadows(self) -> dict[str, Shadow]:
        settings = self.settings
        rate, most, warmup = settings.behaviour_rate, settings.behaviour_decay, settings.behaviour_warmup
        return {BEHAVIOUR: Shadow(lambda step: min(rate * max(0, step - warmup), most))}

    def terms(self, policy: Policy, bundle: Bundle) -> Iterator[Term]:
        live = policy.learner.live(self.compared(policy))  # their velocity is v itself: a forward pass less
        for each in bundle:
            if each.count == 0:
                yield Term(torch.zeros(len(each.signal)), count=0)
                continue
            for point in self.with_others(policy, self.noised(policy, each.trajectory), but=live):
                v = policy.velocity(point.x_t, point.t, point.condition)
                at = replace(point, velocities={**point.velocities, **dict.fromkeys(live, v.detach())})
                yield self.term(each, at, v, *self.loss(at, v, each.signal.to(v.device)))

    def term(self, each: Slice, at: Noised, v: Tensor, loss: Tensor, own: Mapping[str, Tensor]) -> Term:
        """The loss with its penalties, of the scored pictures alone."""
        figures: dict[str, Tensor | float] = {"drift": math.nan, "kl": math.nan, "learned": each.count}
        scored = each.scored.to(loss.device)
        for name, who, weight in (
            ("kl", REFERENCE, self.settings.kl_weight),
            ("drift", BEHAVIOUR, self.settings.behaviour_weight),
        ):
            if who in at.velocities:
                distance = velocity_kl(v if weight > 0 else v.detach(), at.velocities[who])
                loss = loss + weight * distance if weight > 0 else loss
                figures[name] = _sum(distance.detach(), scored)
        figures |= {name: _sum(values.detach(), scored) for name, values in own.items()}
        return Term(torch.where(scored, loss, 0.0), figures, each.count)

    def logged(self, totals: Mapping[str, float]) -> dict[str, float]:
        """Means over scored pictures and noise levels; NaN for what the loss does not compare."""
        learned = totals["learned"] or math.nan
        return {"policy/drift": totals["drift"] / learned, "policy/kl": totals["kl"] / learned}


def _sum(values: Tensor, scored: Tensor) -> Tensor:
    return torch.where(scored, values, 0.0).sum()
