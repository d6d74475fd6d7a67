"""Supervised fine-tuning on the best of a group: flow matching on the picture with the highest reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flowbench.sampling.steps import in_float64, per_sample_mean
from flowbench.trainer.advantages import scored_groups


def flow_matching_error(v: Tensor, noise: Tensor, x0: Tensor) -> Tensor:
    """mean((v - (noise - x0))^2) per sample: (B,) float64.

    The conditional flow matching loss (arXiv 2210.02747) on the straight path x_t = (1 - t) x0 + t noise, whose
    velocity is noise - x0 at every t. v (with gradient): (B, ...) at x_t; noise, x0: (B, ...). Means are over a
    sample's elements.
    """
    return per_sample_mean((in_float64(v) - (in_float64(noise) - in_float64(x0))) ** 2)


def best_of_group(rewards: Tensor | Sequence[float], group_ids: Tensor | Sequence[Any]) -> Tensor:
    """1 for the scored member of each group with the highest reward, of equal ones the first; 0 for all others.

    rewards: (n,), NaN = unscored; group_ids: (n,), any labels. Returns (n,) float64 on the CPU; a group of which
    nothing is scored has no 1. Raises as `scored_groups` does.
    """
    values, groups = scored_groups(rewards, group_ids)
    chosen = torch.zeros_like(values)
    for members in filter(len, groups):
        chosen[members[values[members].argmax()]] = 1
    return chosen
