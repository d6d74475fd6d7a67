"""What is kept of a rollout: the stochastic steps of micro-batches, their final latents, and bundles to learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch

from flowbench.models.base import Condition
from flowbench.trainer.groups import Group


class Place(NamedTuple):
    """Where a picture stands: its group, and which member it is."""

    group: Group
    member: int


@dataclass(frozen=True)
class Transition:
    """One stochastic step of some pictures, computed in one call of the network.

    `x` has one row for all members of a group who share it: where their latents part.
    """

    places: tuple[Place, ...]
    """the B pictures"""
    x: torch.Tensor
    """latents before the step, (R, C, h, w)"""
    rows: tuple[int, ...]
    """the row of x that each picture starts from"""
    condition: Condition
    """encoded prompts of the R rows"""
    prev: torch.Tensor
    """latents after it, (B, C, h, w)"""
    sigma: float
    """noise level before"""
    sigma_next: float
    """noise level after"""
    log_prob: torch.Tensor
    """of the step that was taken, under the policy that took it: (B,) float64"""
    mean: torch.Tensor | None = None
    """of the step under that policy, (B, C, h, w); None when it is not stored"""
    velocity: torch.Tensor | None = None
    """v (R, C, h, w) as it was computed, with its graph; None when that is not kept"""

    def of_each(self, values: torch.Tensor) -> torch.Tensor:
        """Rows of x -> pictures: (R, ...) to (B, ...)."""
        return spread(values, self.rows)

    def only(self, pictures: Sequence[int]) -> Transition:
        """The same of some of the pictures, without what was kept of its graph."""
        used = sorted({self.rows[picture] for picture in pictures})
        return replace(
            self,
            places=tuple(self.places[picture] for picture in pictures),
            x=self.x[used],
            rows=tuple(used.index(self.rows[picture]) for picture in pictures),
            condition=self.condition[used],
            prev=self.prev[pictures],
            log_prob=self.log_prob[pictures],
            mean=None if self.mean is None else self.mean[pictures],
            velocity=None,
        )


@dataclass(frozen=True)
class Trajectory:
    """One micro-batch of a bundle: what the objective asked to keep of it."""

    places: tuple[Place, ...]
    """its B pictures, of one group or several"""
    prompts: Condition
    """encoded prompts, each once"""
    prompt_rows: tuple[int, ...]
    """the row of `prompts` for each picture"""
    transitions: tuple[Transition, ...]
    """the stochastic steps in order; () when they are not stored. Those at which latents part are the whole bundle's,
    and stand in its first micro-batch"""
    latents: torch.Tensor | None = None
    """final latents (B, C, h, w); None when they are not stored"""

    @property
    def size(self) -> int:
        """Number of pictures."""
        return len(self.places)

    @property
    def condition(self) -> Condition:
        """Encoded prompts, a row for each picture."""
        return self.prompts[list(self.prompt_rows)]

    def draws(self, purpose: str, *more: int) -> list[int]:
        """A seed for each picture, a function of (run seed, purpose, step, group, member, ...)."""
        return [place.group.draw(purpose, place.member, *more) for place in self.places]


@dataclass(frozen=True)
class Slice:
    """A micro-batch with, on the CPU, its pictures' signal (B,) and which of them were scored, (B,) bool."""

    trajectory: Trajectory
    signal: torch.Tensor
    scored: torch.Tensor

    @cached_property
    def count(self) -> int:
        """Number of scored pictures."""
        return int(self.scored.sum())


@dataclass(frozen=True)
class Moment:
    """A stochastic step with, on the CPU, its pictures' signal (B,) and which of them were scored, (B,) bool."""

    transition: Transition
    signal: torch.Tensor
    scored: torch.Tensor

    @cached_property
    def count(self) -> int:
        """Number of scored pictures."""
        return int(self.scored.sum())

    def taught(self) -> Moment:
        """Without the groups none of whose pictures has a signal; itself where all have, or where its graph is kept."""
        groups = [place.group.index for place in self.transition.places]
        teaching = {group for group, teaches in zip(groups, (self.signal != 0).tolist(), strict=True) if teaches}
        if self.transition.velocity is not None or teaching == set(groups):
            return self
        kept = [picture for picture, group in enumerate(groups) if group in teaching]
        return Moment(self.transition.only(kept), self.signal[kept], self.scored[kept])


@dataclass(frozen=True)
class Bundle:
    """Whole groups of one process, whose members a loss may couple; its micro-batches and steps in a fixed order."""

    groups: tuple[Group, ...]
    slices: tuple[Slice, ...]
    """micro-batches of its pictures"""
    moments: tuple[Moment, ...] = ()
    """recorded stochastic steps; () when they are not stored"""

    def __iter__(self) -> Iterator[Slice]:
        return iter(self.slices)


def spread(values: torch.Tensor, rows: tuple[int, ...]) -> torch.Tensor:
    """values[rows], without a copy where it can be had."""
    if rows == tuple(range(len(values))):
        return values
    if len(values) == 1:
        return values.expand(len(rows), *values.shape[1:])
    return values[torch.tensor(rows, device=values.device)]
