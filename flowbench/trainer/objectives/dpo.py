"""Diffusion-DPO (arXiv 2311.12908): the best picture of a group against its worst, in flow matching form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from flowbench.sampling.steps import in_float64
from flowbench.trainer.advantages import scored_groups


def dpo_loss(
    error_won: Tensor, error_lost: Tensor, error_won_ref: Tensor, error_lost_ref: Tensor, *, beta: float
) -> Tensor:
    """-log sigmoid(-beta/2 ((won - won_ref) - (lost - lost_ref))) per pair: (B,) float64.

    Diffusion-DPO's final loss (arXiv 2311.12908, section 4, its T and weights taken into beta) as the published code
    has it: the errors are mean((v - target)^2) over a picture's elements, target = noise - x0, and both pictures of a
    pair and both policies see one t and one noise. The velocity's error in the place of the noise's is another weight
    over t.

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
