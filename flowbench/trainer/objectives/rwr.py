"""Reward-weighted regression: flow matching on every picture of a group, the better it is the more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flowbench.trainer.advantages import scored_groups


def reward_weights(
    rewards: Tensor | Sequence[float], group_ids: Tensor | Sequence[Any], *, temperature: float
) -> Tensor:
    """softmax(reward / temperature) over the scored members of a group, times their number: (n,) float64 on the CPU.

    The weights of a group have mean 1 whatever its size; those of equal rewards are all 1. As the temperature falls to
    0 the best member takes all, as it grows the weights become equal. An unscored member weighs 0.
    Reward-weighted regression (Peters and Schaal 2007; arXiv 2302.12192 for diffusion models).

    rewards: (n,), NaN = unscored; group_ids: (n,), any labels; temperature > 0, in units of the reward. Raises as
    `scored_groups` does.
    """
    values, groups = scored_groups(rewards, group_ids)
    weights = torch.zeros_like(values)
    for members in filter(len, groups):
        weights[members] = torch.softmax(values[members] / temperature, dim=0) * len(members)
    return weights
