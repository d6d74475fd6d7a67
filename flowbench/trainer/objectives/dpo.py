"""Diffusion-DPO (arXiv 2311.12908): the best picture of a group against its worst, in flow matching form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from flowbench.baseline_config import DPOConfig
from flowbench.sampling.steps import in_float64
from flowbench.trainer.advantages import scored_groups
from flowbench.trainer.objectives.base import Figure, Term
from flowbench.trainer.objectives.baseline import BaselineObjective, with_signal
from flowbench.trainer.objectives.forward import REFERENCE, Noised
from flowbench.trainer.objectives.matching import flow_error
from flowbench.trainer.policy import Policy
from flowbench.trainer.trajectory import Bundle, Trajectory


def dpo_loss(
    error_won: Tensor, error_lost: Tensor, error_won_ref: Tensor, error_lost_ref: Tensor, *, beta: float
) -> Tensor:
    """-log sigmoid(-beta/2 ((won - won_ref) - (lost - lost_ref))) per pair: (B,) float64.

    Diffusion-DPO's final loss (arXiv 2311.12908, section 4, its T and weights taken into beta) as the published code
    has it: the errors are mean((v - target)^2) over a picture's elements (`flow_error`), target = noise - x0, and both
    pictures of a pair and both policies see one t and one noise. The velocity's error in the place of the noise's is
    another weight over t.

    error_won, error_lost (with gradient), error_won_ref, error_lost_ref (of the reference; no gradient): (B,).
    beta > 0; published: 2,000 (SD 1.5) and 5,000 (SDXL).
    """
    return -logsigmoid(-beta / 2 * pair_margin(error_won, error_lost, error_won_ref, error_lost_ref))


def pair_margin(error_won: Tensor, error_lost: Tensor, error_won_ref: Tensor, error_lost_ref: Tensor) -> Tensor:
    """(won - won_ref) - (lost - lost_ref) per pair, (B,) float64: below 0 the policy prefers the picture that won more
    than the reference does. Gradient to the policy's errors alone."""
    won = in_float64(error_won) - in_float64(error_won_ref.detach())
    return won - (in_float64(error_lost) - in_float64(error_lost_ref.detach()))


def pair_coefficient(margin: Tensor, *, beta: float) -> Tensor:
    """d dpo_loss / d margin = beta/2 sigmoid(beta/2 margin), (B,) in (0, beta/2), without gradient.

    coefficient x (error_won - error_lost) has the loss's gradient, and is linear in the two pictures: they need not be
    in one forward pass.
    """
    return beta / 2 * torch.sigmoid(beta / 2 * margin.detach())


def best_and_worst(rewards: Tensor | Sequence[float], group_ids: Tensor | Sequence[Any]) -> Tensor:
    """1 for the scored member of each group with the highest reward, -1 for that with the lowest, 0 for all others.

    Of equal ones the first is taken. A group whose rewards are all equal (also one with a single scored member) has no
    pair. rewards: (n,), NaN = unscored; group_ids: (n,), any labels. Returns (n,) float64 on the CPU. Raises as
    `scored_groups` does.
    """
    values, groups = scored_groups(rewards, group_ids)
    sides = torch.zeros_like(values)
    for members in groups:
        group = values[members]
        if len(group) and group.max() > group.min():
            sides[members[group.argmax()]] = 1
            sides[members[group.argmin()]] = -1
    return sides


class Pulls(NamedTuple):
    """What a pass without gradient finds for pictures that stand in pairs, the one that won first. (B,) float64 each;
    what is of a pair stands at its winner, and 0 at its loser."""

    coefficient: Tensor
    """of each picture's error in the loss: above 0 for the winner, below for the loser"""
    loss: Tensor
    """of the pair"""
    margin: Tensor
    """of the pair"""


class DPO(BaselineObjective):
    """dpo_loss on the best against the worst of each group, or on the pairs of a data file, at noises and noise levels
    that a pair shares; a mean over pairs and levels.

    Where no pair is parted by a micro-batch, the pass that is learned from finds its coefficients, too; else a pass of
    its own finds them. A group without a pair teaches nothing.
    """

    config = DPOConfig
    sums = ("margin", "preferred", "won", "pairs")
    figures = (
        Figure(
            "policy/margin", "mean (won - won_ref) - (lost - lost_ref) of the errors: below 0 the policy prefers the "
            "pictures that won more than the reference does",
            direction="lower", shown="margin {:.2g}",
        ),
        Figure("policy/preferred", "share of pairs with a margin below 0", "higher", (0.5, 1), "preferred {:.0%}"),
        Figure(
            "policy/won", "mean won - won_ref: above 0 even the pictures that won are explained worse than by the "
            "reference, and only those that lost still worse",
            direction="lower",
        ),
    )  # fmt: skip

    settings: DPOConfig

    def signal(self, rewards: Tensor, group_ids: Tensor) -> Tensor:
        """1 for the best of a group, -1 for its worst, 0 for the others."""
        return best_and_worst(rewards, group_ids)

    def compared(self, policy: Policy) -> set[str]:
        return {REFERENCE}

    def draws(self, trajectory: Trajectory, purpose: str, *more: int) -> list[int]:
        """One seed for both pictures of a pair."""
        return [place.group.draw(purpose, 0, *more) for place in trajectory.places]

    def terms(self, policy: Policy, bundle: Bundle) -> Iterator[Term]:
        slices = with_signal(bundle, self.rollout.micro_batch)
        sizes = [len(each.signal) for each in slices]
        for turn in range(self.settings.levels if slices else 0):
            noised = [self.noised(policy, each.trajectory, [turn])[0] for each in slices]
            points = self.with_others(policy, noised)
            first = self._first_pass(policy, points) if any(size % 2 for size in sizes) else None
            for number, (each, at) in enumerate(zip(slices, points, strict=True)):
                v = policy.velocity(at.x_t, at.t, at.condition)
                error, reference = flow_error(v, at.x0, at.noise), flow_error(at.reference, at.x0, at.noise)
                pulls = first[number] if first else self._pulls(error, reference)
                has_won = each.signal > 0
                pairs, won = int(has_won.sum()), has_won.to(error.device)
                figures: dict[str, Tensor | float] = {
                    "margin": pulls.margin.sum(),
                    "preferred": (pulls.margin < 0).sum(),
                    "won": torch.where(won, error.detach() - reference, 0.0).sum(),
                    "pairs": pairs,
                }
                # The value of the loss, and the gradient of something that is linear in the errors.
                yield Term(pulls.loss + pulls.coefficient * (error - error.detach()), figures, pairs)

    def logged(self, totals: Mapping[str, float]) -> dict[str, float]:
        """NaN where no group had a pair."""
        pairs = totals["pairs"] or math.nan
        return {f"policy/{name}": totals[name] / pairs for name in ("margin", "preferred", "won")}

    @torch.no_grad()
    def _first_pass(self, policy: Policy, points: Sequence[Noised]) -> list[Pulls]:
        """The pulls of each micro-batch, found from all of them."""
        with policy.model.adapter_frozen():
            now = torch.cat([flow_error(policy.velocity(at.x_t, at.t, at.condition), at.x0, at.noise) for at in points])
        reference = torch.cat([flow_error(at.reference, at.x0, at.noise) for at in points])
        sizes = [len(at.x0) for at in points]
        columns = (each.split(sizes) for each in self._pulls(now, reference))
        return [Pulls(*parts) for parts in zip(*columns, strict=True)]

    def _pulls(self, error: Tensor, reference: Tensor) -> Pulls:
        """error, reference: (2 n,), of pairs side by side."""
        error, beta = error.detach(), self.settings.beta
        now, ref = error.view(-1, 2), reference.view(-1, 2)
        margin = pair_margin(now[:, 0], now[:, 1], ref[:, 0], ref[:, 1])
        coefficient = pair_coefficient(margin, beta=beta)
        loss = dpo_loss(now[:, 0], now[:, 1], ref[:, 0], ref[:, 1], beta=beta)
        nothing = torch.zeros_like(margin)
        columns = (coefficient, -coefficient), (loss, nothing), (margin, nothing)
        return Pulls(*(torch.stack(pair, dim=1).flatten() for pair in columns))
