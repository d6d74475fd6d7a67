"""Supervised fine-tuning on the best of a group: flow matching on the picture with the highest reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flowbench.baseline_config import SFTConfig
from flowbench.trainer.advantages import scored_groups
from flowbench.trainer.objectives.baseline import WeightedMatching, with_signal
from flowbench.trainer.trajectory import Bundle, Slice


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


class SFT(WeightedMatching):
    """Flow matching on the best of each group, or on the rows of a data file: `WeightedMatching` with weight 1.

    A group whose rewards are all equal teaches its first picture, as published. With `refresh_every: 1` it is rejection
    sampling: best of `group_size` pictures of the policy itself.
    """

    config = SFTConfig

    def signal(self, rewards: Tensor, group_ids: Tensor) -> Tensor:
        """1 for the picture that is learned, 0 for the others."""
        return best_of_group(rewards, group_ids)

    def taught(self, bundle: Bundle) -> Sequence[Slice]:
        return with_signal(bundle, self.rollout.micro_batch)
