"""What is kept of a rollout: the stochastic steps of micro-batches, their final latents, and bundles to learn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from flowbench.models.base import Condition
from flowbench.trainer.groups import Group


@dataclass(frozen=True)
class Transition:
    """One stochastic step of one micro-batch.

    `x` has one row where all members share it: the first stochastic step of a group with `same_latent`.
    """

    x: torch.Tensor
    """latents before the step, (B, C, h, w) or (1, C, h, w)"""
    prev: torch.Tensor
    """latents after it, (B, C, h, w)"""
    sigma: float
    """noise level before"""
    sigma_next: float
    """noise level after"""
    log_prob: torch.Tensor
    """of the step that was taken, under the policy that took it: (B,) float64"""


@dataclass(frozen=True)
class Trajectory:
    """One micro-batch of a group: what the objective asked to keep of it."""

    group: Group
    """the prompt, and the seeds of all draws"""
    first: int
    """its first member's place in the group"""
    size: int
    """number of members"""
    condition: Condition
    """the encoded prompt, one row"""
    transitions: tuple[Transition, ...]
    """the stochastic steps in order; () when they are not stored"""
    latents: torch.Tensor | None = None
    """final latents (B, C, h, w); None when they are not stored"""

    @property
    def members(self) -> range:
        """Places of its members in the group."""
        return range(self.first, self.first + self.size)


@dataclass(frozen=True)
class Slice:
    """A micro-batch with, on the CPU, its members' signal (B,) and which of them were scored, (B,) bool."""

    trajectory: Trajectory
    signal: torch.Tensor
    scored: torch.Tensor

    @property
    def count(self) -> int:
        """Number of scored members."""
        return int(self.scored.sum())


@dataclass(frozen=True)
class Bundle:
    """Whole groups of one process, today one, whose members a loss may couple; `slices`: its rows in a fixed order."""

    group: int
    slices: tuple[Slice, ...]

    def __iter__(self) -> Iterator[Slice]:
        return iter(self.slices)
