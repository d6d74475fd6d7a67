"""Direct group preference optimisation (DGPO, arXiv 2510.08425): the better half of a group against its worse half.

d_i is a member's flow-matching error at a noise and a noise level that its whole group shares. The loss of a group is
-log sigmoid(-s), s = beta / |G| sum A_i (d_i - d_i,ref), up to a constant factor: its gradient is sigmoid(s) times that
of sum A_i d_i. So sigmoid(s), which couples the members, is found first and without gradient; what is then learned is
linear in them, and micro-batches never change the sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from flowbench.forward_config import DGPOConfig
from flowbench.sampling.steps import in_float64
from flowbench.trainer.learner import BEHAVIOUR
from flowbench.trainer.objectives.base import Figure, Term
from flowbench.trainer.objectives.forward import REFERENCE, ForwardObjective, Noised
from flowbench.trainer.objectives.matching import flow_error
from flowbench.trainer.policy import Policy
from flowbench.trainer.trajectory import Bundle, Slice, Trajectory


def group_coefficients(
    error: Tensor, error_ref: Tensor, advantages: Tensor, group_ids: Tensor, *, beta: float
) -> Tensor:
    """sigmoid(s) of each member's group, (n,) float64 without gradient: 1/2 where policy and reference are one.

    s = beta / |G| sum A_i (d_i - d_i,ref): below 0 where the policy prefers the better members more than the reference
    does, so that a group that is already in order pulls less. error, error_ref, advantages: (n,) over all members that
    were scored; group_ids: (n,) integers of 0 or more.
    """
    groups = group_ids.to(error.device)
    moved = in_float64(advantages.to(error.device)) * (in_float64(error.detach()) - in_float64(error_ref.detach()))
    size = int(groups.max()) + 1
    sums = moved.new_zeros(size).index_add(0, groups, moved)
    members = torch.bincount(groups, minlength=size).clamp(min=1)
    return torch.sigmoid(beta * sums / members)[groups]


def dgpo_loss(error: Tensor, error_old: Tensor, weights: Tensor, *, clip: float | None) -> Tensor:
    """weight x d per member: (B,) float64, gradient to `error` where `within_clip`.

    error, error_old: (B,), d under the policy and under the behaviour copy; weights: (B,), a member's advantage times
    its coefficient of `group_coefficients`, which is above 0.
    """
    error, weights = in_float64(error), in_float64(weights).to(error.device)
    if clip is not None:
        error = torch.where(within_clip(error, error_old, weights, clip=clip), error, error.detach())
    return weights * error


def within_clip(error: Tensor, error_old: Tensor, weights: Tensor, *, clip: float) -> Tensor:
    """(B,) bool: False where the ratio exp(d_old - d) has left 1 +- clip on the side to which the weight pushes it.

    Such a member keeps its value in the loss and loses its gradient (the published code's `clip_dsm`).
    """
    ratio = torch.exp(in_float64(error_old.detach()) - in_float64(error.detach()))
    return torch.where(weights > 0, ratio <= 1 + clip, ratio >= 1 - clip)


class DGPO(ForwardObjective):
    """dgpo_loss, at noises and noise levels that the members of a group share.

    Where this departs from the published code: noise levels are drawn for every group (there once for all); the
    behaviour copy samples from the first step (there from step 200 or 500); guidance in the loss is that of the
    rollout (its default samples with guidance and learns without).
    """

    config = DGPOConfig
    sums = (*ForwardObjective.sums, "preference", "clipped")
    figures = (
        *ForwardObjective.figures,
        Figure(
            "policy/preference",
            "mean of sigmoid(s): below 1/2 the policy prefers the better half of a group more than the base does",
            healthy=(0.05, 0.55), shown="preference {:.3f}",
        ),
        Figure(
            "policy/clipped", "share of noised pictures that have gone far enough to lose their gradient",
            healthy=(0, 0.5), shown="clipped {:.0%}",
        ),
    )  # fmt: skip

    settings: DGPOConfig

    def compared(self, policy: Policy) -> set[str]:
        settings = self.settings
        against = {settings.against} | ({REFERENCE} if settings.kl_weight > 0 else set())
        return against | ({BEHAVIOUR} if settings.behaviour_weight > 0 or settings.clip_range is not None else set())

    def draws(self, trajectory: Trajectory, purpose: str, *more: int) -> list[int]:
        """One seed for all members of a group."""
        return [place.group.draw(purpose, 0, *more) for place in trajectory.places]

    def terms(self, policy: Policy, bundle: Bundle) -> Iterator[Term]:
        slices = [each for each in bundle if each.count > 0]
        groups = [{place.group.index for place in each.trajectory.places} for each in slices]
        whole = sum(map(len, groups)) == len(set().union(*groups))
        for turn in range(self.settings.levels if slices else 0):
            noised = [self.noised(policy, each.trajectory, [turn])[0] for each in slices]
            points = self.with_others(policy, noised)
            if whole:  # no group is in two micro-batches: the pass that is learned from finds the coefficients, too
                for each, at in zip(slices, points, strict=True):
                    v = policy.velocity(at.x_t, at.t, at.condition)
                    (coefficient,) = self._coefficients([each], [at], [v])
                    yield self._weighed(each, at, v, coefficient)
                continue
            with torch.no_grad(), policy.model.adapter_frozen():
                now = [policy.velocity(at.x_t, at.t, at.condition) for at in points]
            for each, at, coefficient in zip(slices, points, self._coefficients(slices, points, now), strict=True):
                yield self._weighed(each, at, policy.velocity(at.x_t, at.t, at.condition), coefficient)

    def _weighed(self, each: Slice, at: Noised, v: Tensor, coefficient: Tensor) -> Term:
        loss, own = self.loss(at, v, coefficient * each.signal.to(coefficient))
        return self.term(each, at, v, loss, {**own, "preference": coefficient})

    def loss(self, at: Noised, v: Tensor, signal: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """signal: advantages times coefficients."""
        error, clip = flow_error(v, at.x0, at.noise), self.settings.clip_range
        if clip is None:
            return dgpo_loss(error, error, signal, clip=None), {"clipped": torch.zeros_like(error)}
        old = flow_error(at.old, at.x0, at.noise)
        clipped = ~within_clip(error, old, signal, clip=clip)
        return dgpo_loss(error, old, signal, clip=clip), {"clipped": clipped.double()}

    def logged(self, totals: Mapping[str, float]) -> dict[str, float]:
        learned = totals["learned"] or math.nan
        own = {f"policy/{name}": totals[name] / learned for name in ("preference", "clipped")}
        return {**super().logged(totals), **own}

    @torch.no_grad()
    def _coefficients(
        self, slices: Sequence[Slice], points: Sequence[Noised], now: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """sigmoid(s) for the pictures of each slice, from all scored members of their groups; 0 for the unscored. now:
        the policy's velocities."""
        errors = torch.cat([flow_error(v, at.x0, at.noise) for v, at in zip(now, points, strict=True)])
        against = torch.cat([flow_error(at.velocities[self.settings.against], at.x0, at.noise) for at in points])
        places = [place for each in slices for place in each.trajectory.places]
        groups = torch.tensor([place.group.index for place in places])
        advantages, scored = torch.cat([each.signal for each in slices]), torch.cat([each.scored for each in slices])
        found = torch.zeros_like(errors)
        found[scored] = group_coefficients(
            errors[scored], against[scored], advantages[scored], groups[scored], beta=self.settings.beta
        )
        return found.split([len(each.signal) for each in slices])
