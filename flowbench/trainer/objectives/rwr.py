"""Reward-weighted regression: flow matching on every picture of a group, the better it is the more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from flowbench.baseline_config import RWRConfig
from flowbench.trainer.advantages import scored_groups
from flowbench.trainer.objectives.base import Figure
from flowbench.trainer.objectives.baseline import WeightedMatching
from flowbench.trainer.trajectory import Slice


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


class RWR(WeightedMatching):
    """Flow matching on all pictures, with the weights of `reward_weights`: `WeightedMatching` with those as signal."""

    config = RWRConfig
    sums = (*WeightedMatching.sums, "weight_square")
    figures = (
        *WeightedMatching.figures,
        Figure(
            "policy/effective", "share of a group that counts, 1 / mean(weight^2): 1 where all weigh the same, "
            "1 / group size where one takes all",
            healthy=(0.1, 0.9), shown="effective {:.2f}",
        ),
    )  # fmt: skip

    settings: RWRConfig

    def signal(self, rewards: Tensor, group_ids: Tensor) -> Tensor:
        """The weight of each picture, with mean 1 over its group."""
        return reward_weights(rewards, group_ids, temperature=self.settings.temperature)

    def of_signal(self, each: Slice) -> dict[str, Tensor]:
        return {"weight_square": (each.signal**2).sum()}

    def logged(self, totals: Mapping[str, float]) -> dict[str, float]:
        effective = (totals["learned"] or math.nan) / (totals["weight_square"] or math.nan)
        return {**super().logged(totals), "policy/effective": effective}
