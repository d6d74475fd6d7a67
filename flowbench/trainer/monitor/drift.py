"""How far the policy has moved from its base, by velocities on the base's own pictures: a KL that no loss needs.

mean((v - v_ref)^2), the velocity form of the KL (trainer/objectives/kl.py), without guidance, on one picture of the
base for each prompt of the panel, at noise levels that take turns. It costs a forward pass of as many rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flowbench.models.base import FlowModel
from flowbench.rollout_config import RolloutConfig
from flowbench.trainer.groups import draw_seed
from flowbench.trainer.objectives.kl import velocity_kl
from flowbench.types import Prompt


class Drift:
    """Of the rows of one process. What does not change is computed at the first call."""

    def __init__(self, prompts: Sequence[Prompt], rows: Sequence[int], rollout: RolloutConfig, seed: int):
        size, self._parts = rollout.micro_batch, []
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            seeds = [[draw_seed(seed, f"drift-{what}", row) for row in some] for what in ("picture", "noise")]
            self._parts.append(_Part([prompts[row].text for row in some], rollout.steps, seeds[0], seeds[1], some))

    def of(self, model: FlowModel) -> list[float]:
        """The policy's distance on each row."""
        return [value for part in self._parts for value in part.of(model)]


@dataclass
class _Part:
    """Rows of one forward pass."""

    texts: Sequence[str]
    steps: int
    """of the base's pictures"""
    pictures: Sequence[int]
    """seeds"""
    noises: Sequence[int]
    """seeds"""
    rows: Sequence[int]
    """of the panel"""
    points: tuple[Tensor, Tensor, Tensor] | None = None
    """latents on the way, their noise levels, the base's velocities there"""

    @torch.no_grad()
    def of(self, model: FlowModel) -> list[float]:
        condition = model.encode(self.texts)
        if self.points is None:
            with model.adapter_disabled():
                x0 = model.sample_latents(condition, self.pictures, steps=self.steps)
                levels = model.sigmas(self.steps)[:-1]
                sigma = levels[torch.tensor(self.rows) % len(levels)].to(x0)
                x = torch.lerp(x0, model.noise(self.noises).to(x0), sigma.view(-1, *[1] * (x0.ndim - 1)))
                self.points = x, sigma, model.velocity(x, sigma, condition)
        x, sigma, of_base = self.points
        found: list[float] = velocity_kl(model.velocity(x, sigma, condition), of_base).tolist()
        return found
