"""The policy as an objective sees it: velocities of the live weights, of a shadow, and of the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from flowbench.models.base import Condition, FlowModel
from flowbench.trainer.learner import Learner


class Policy:
    """A model with its adapter under training; the guided velocity is the policy."""

    def __init__(self, model: FlowModel, learner: Learner, guidance: float):
        self.model = model
        self.learner = learner
        self.guidance = guidance

    def velocity(self, x: torch.Tensor, sigma: float | torch.Tensor, condition: Condition) -> torch.Tensor:
        """v (B, C, h, w) float32 at latents x, all of one prompt (`condition` has one row); sigma: a number or (B,)."""
        return self.model.velocity(x, sigma, condition.repeat(len(x)), guidance=self.guidance)

    @contextmanager
    def using(self, weights: str) -> Iterator[None]:
        """Inside, without gradient, the weights are those of a shadow, or the live ones ("live")."""
        with torch.no_grad(), self.learner.using(weights):
            yield

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Inside, without gradient, the model is its base."""
        with torch.no_grad(), self.model.adapter_disabled():
            yield

    @property
    def gradient_scale(self) -> int:
        """Elements of a latent: what the loss is multiplied by on its way back.

        Losses are means over them, so the gradient at each is around 1e-5 in a large latent, and near the smallest
        float16 number after the division by the samples of an update. Scaled, it is around 1 in every dtype.
        """
        return math.prod(self.model.latent_shape)
