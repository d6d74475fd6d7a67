"""What an objective is: what it needs of a rollout, and what it learns from it.

A training step asks it, in this order: `noisy_steps` and `stores` (rollout.py), `signal` (scoring.py), `terms`
(update.py), `logged`. Before the first update of every run `check` says whether the policy is what it must be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from flowbench.config import RolloutConfig
from flowbench.objective_config import ObjectiveSettings
from flowbench.trainer.advantages import group_advantages
from flowbench.trainer.learner import LIVE, Shadow

if TYPE_CHECKING:
    from flowbench.trainer.groups import Group
    from flowbench.trainer.policy import Policy
    from flowbench.trainer.trajectory import Bundle

Stored = Literal["transitions", "means", "latents"]


@dataclass(frozen=True)
class Figure:
    """A logged number of an objective, as log.jsonl, the progress line and docs/metrics.md know it."""

    name: str
    """as logged: "policy/kl" """
    meaning: str
    """one line for the documentation"""
    direction: Literal["higher", "lower", "none"] = "none"
    """which end is better; "none": neither, it only describes"""
    healthy: tuple[float, float] | None = None
    """the range that it keeps in a sound run; None: it depends on the model"""
    shown: str = ""
    """its text in the progress line: "kl {:.2g}"; "" leaves it out"""

    @property
    def described(self) -> str:
        """Meaning, healthy range and direction, for `flowbench show`."""
        healthy = f"healthy from {self.healthy[0]:g} to {self.healthy[1]:g}" if self.healthy else ""
        better = f"{self.direction} is better" if self.direction != "none" else ""
        return "; ".join(filter(None, (self.meaning, healthy, better)))


@dataclass(frozen=True)
class Term:
    """The loss of one micro-batch at one point: a recorded step, or a noise level.

    `loss` (B,), with gradient, is 0 for members that were not scored; without gradient there is nothing to learn here,
    and only `count` matters. `count` is the number of scored members, times the points that the term stands for: the
    sum of all losses of an update is divided by the sum of all counts. `figures` are sums over the scored members.
    """

    loss: torch.Tensor
    figures: Mapping[str, torch.Tensor | float] = field(default_factory=dict)
    count: int = 0


@dataclass(frozen=True)
class Comparison:
    """One point of the check before the first update, computed as the rollout did and as the update does."""

    error: torch.Tensor
    """how far they are apart, of any shape: anything but 0 is a mismatch"""
    velocity: torch.Tensor
    """v as the update computes it"""
    reference: torch.Tensor
    """v of the base, which a fresh adapter must not change"""
    value: torch.Tensor
    """(B,) with gradient: through it every adapter tensor must be reached"""


class Objective(ABC):
    """Built from its settings and the rollout's, of which it reads what concerns it."""

    config: ClassVar[type[ObjectiveSettings]]
    """The class of its settings."""
    stores: ClassVar[tuple[Stored, ...]] = ("latents",)
    """What a rollout keeps for it: the stochastic steps, also with their means, the final latents."""
    samples_with: str = LIVE
    """Whose weights sample the rollouts: the live ones, or a shadow's."""
    sums: ClassVar[tuple[str, ...]] = ()
    """Names of the figures that its terms sum up."""
    figures: ClassVar[tuple[Figure, ...]] = ()
    """What `logged` gives, in its order."""
    compares: ClassVar[str] = "|v - v|"
    """What `check` measures, in the words of its message."""

    def __init__(self, settings: Any, rollout: RolloutConfig):
        self.settings = settings
        self.rollout = rollout

    def shadows(self) -> dict[str, Shadow]:
        """Copies of the adapter that it needs, beside the average."""
        return {}

    def noisy_steps(self, group: Group) -> tuple[int, ...]:
        """Indices of the denoising steps that draw noise, ascending; () is an ODE rollout."""
        return ()

    def signal(self, rewards: torch.Tensor, group_ids: torch.Tensor) -> torch.Tensor:
        """What each picture teaches, (n,): here its advantage, 0 where it is unscored (its settings are then an
        ObjectiveConfig).

        rewards: (n,) float64 of all groups of a training step, NaN = unscored. group_ids: (n,).
        """
        scale, clip = self.settings.advantage_scale, self.settings.advantage_clip
        return group_advantages(rewards, group_ids, scale=scale, clip=clip)

    @abstractmethod
    def terms(self, policy: Policy, bundle: Bundle) -> Iterator[Term]:
        """The loss of a bundle, one micro-batch at a time: each is taken back before the next is asked for.

        A loss that couples the members of a group finds its coefficients first, without gradient, and is linear in
        them here: micro-batches of any size then give the same sum.
        """

    @abstractmethod
    def check(self, policy: Policy, bundle: Bundle) -> Iterator[Comparison]:
        """What must hold before the first update, on one micro-batch; each is taken back before the next."""

    def logged(self, totals: Mapping[str, float]) -> dict[str, float]:
        """The declared figures from the sums of a training step over all processes.

        totals: each of `sums`, with "loss" and "count" over all scored members.
        """
        return {}
