"""Direct group preference optimisation (DGPO, arXiv 2510.08425): the better half of a group against its worse half.

d_i is a member's flow-matching error at a noise and a noise level that its whole group shares. The loss of a group is
-log sigmoid(-s), s = beta / |G| sum A_i (d_i - d_i,ref), up to a constant factor: its gradient is sigmoid(s) times that
of sum A_i d_i. So sigmoid(s), which couples the members, is found first and without gradient; what is then learned is
linear in them, and micro-batches never change the sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flowbench.sampling.steps import in_float64


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


def dgpo_loss(
    error: Tensor, error_old: Tensor, advantages: Tensor, coefficients: Tensor, *, clip: float | None
) -> Tensor:
    """coefficient A d per member: (B,) float64, gradient to `error` where `within_clip`.

    error, error_old: (B,), d under the policy and under the copy that samples; coefficients: of `group_coefficients`.
    """
    error, advantages = in_float64(error), in_float64(advantages).to(error.device)
    if clip is not None:
        error = torch.where(within_clip(error, error_old, advantages, clip=clip), error, error.detach())
    return coefficients * advantages * error


def within_clip(error: Tensor, error_old: Tensor, advantages: Tensor, *, clip: float) -> Tensor:
    """(B,) bool: False where the ratio exp(d_old - d) has left 1 +- clip on the side to which the advantage pushes it.

    Such a member keeps its value in the loss and loses its gradient (the published code's `clip_dsm`).
    """
    ratio = torch.exp(in_float64(error_old.detach()) - in_float64(error.detach()))
    return torch.where(advantages > 0, ratio <= 1 + clip, ratio >= 1 - clip)
