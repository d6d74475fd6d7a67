"""Rewards -> advantages, within groups of samples of one prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
import torch

from flowbench.errors import ConfigError, RewardError

SCALES = ("group", "batch", "none")


def group_advantages(
    rewards: torch.Tensor | Sequence[float],
    group_ids: torch.Tensor | Sequence[Any],
    *,
    scale: str = "group",
    eps: float = 1e-4,
    clip: float = 5.0,
) -> torch.Tensor:
    """A = (reward - mean of its group) / (std + eps), clipped to [-clip, clip] (arXiv 2505.05470).

    rewards: (n,), NaN = unscored; group_ids: (n,), any labels. Returns (n,) on the CPU, float32 or the dtype of a float
    tensor of rewards. scale: the std is "group": that of the group's rewards; "batch": that of all raw rewards given
    (pass a whole epoch's); "none": no division, A = reward - mean. Stds are population stds (ddof 0).

    An unscored reward gets A = 0 and takes no part in any mean or std. A group whose rewards are all equal (max == min;
    also one with a single scored member) gets exactly 0, where rounding of its mean would leave noise divided by eps.
    Raises RewardError for an infinite reward or one near the largest float64, ConfigError for lengths that differ or an
    unknown scale.
    """
    if scale not in SCALES:
        raise ConfigError(f"unknown advantage scale '{scale}': choose {', '.join(SCALES)}.")
    values, groups = scored_groups(rewards, group_ids)
    dtype = rewards.dtype if isinstance(rewards, torch.Tensor) and rewards.is_floating_point() else torch.float32
    advantages = torch.zeros_like(values)
    scored = ~values.isnan()
    for members in groups:
        group = values[members]
        if len(group) == 0 or group.max() == group.min():
            continue
        centred = group - group.mean()
        if scale != "none":
            spread = group if scale == "group" else values[scored]
            centred = centred / (spread.std(correction=0) + eps)
        advantages[members] = centred
    if not advantages.isfinite().all():
        largest = float(values[scored].abs().max())
        raise RewardError(f"rewards as large as {largest:.1e} cannot be averaged: return scores of a usual size.")
    return advantages.clamp(-clip, clip).to(dtype)


def scored_groups(
    rewards: torch.Tensor | Sequence[float], group_ids: torch.Tensor | Sequence[Any]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The rewards (n,) in float64 on the CPU, and of each group the places of its scored members, which may be none.

    rewards: (n,), NaN = unscored; group_ids: (n,), any labels. Raises RewardError for an infinite reward, ConfigError
    for lengths that differ.
    """
    values = torch.as_tensor(rewards, dtype=torch.float64).detach().cpu()
    if values.ndim != 1 or len(values) != len(group_ids):
        raise ConfigError(f"{tuple(values.shape)} rewards for {len(group_ids)} group ids: give one id per reward.")
    if values.isinf().any():
        index = int(values.isinf().nonzero()[0])
        raise RewardError(
            f"the reward of sample {index} is infinite: return a finite score, or Score.unscored(reason)."
        )
    ids = group_ids.tolist() if isinstance(group_ids, torch.Tensor) else group_ids
    _, inverse = numpy.unique(numpy.asarray(ids), return_inverse=True)
    is_scored = ~values.isnan().numpy()
    places = (numpy.flatnonzero((inverse == group) & is_scored) for group in range(inverse.max(initial=-1) + 1))
    return values, [torch.from_numpy(each) for each in places]
