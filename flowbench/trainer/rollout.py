"""Sampling: groups of prompts -> pictures, and everything that is needed to replay their stochastic steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise

import torch

from flowbench.config import RolloutConfig
from flowbench.models.base import Condition, FlowModel
from flowbench.sampling.steps import step as take_step
from flowbench.trainer.groups import Group
from flowbench.types import Sample, Score


@dataclass(frozen=True)
class Transition:
    """One stochastic step of one micro-batch: latents before and after (B, C, h, w), log-prob (B,) float64.

    `x` has one row where all members share it: the first stochastic step of a group with `same_latent`.
    """

    x: torch.Tensor
    prev: torch.Tensor
    sigma: float
    sigma_next: float
    log_prob: torch.Tensor


@dataclass(frozen=True)
class Trajectory:
    """One micro-batch: members `first` to `first + size` of a group, with their prompt's condition (one row)."""

    group: Group
    first: int
    size: int
    condition: Condition
    transitions: tuple[Transition, ...]


@dataclass(frozen=True)
class Rollout:
    """What one process sampled in one training step; `scores` has one future per group, in order."""

    trajectories: list[Trajectory]
    groups: list[Group]
    samples: list[list[Sample]]
    scores: list[Future[list[Score]]]


def collect(
    model: FlowModel,
    groups: Sequence[Group],
    config: RolloutConfig,
    submit: Callable[[list[Sample]], Future[list[Score]]],
) -> Rollout:
    """Sample all groups. A group's pictures go to `submit` at once: they are scored while the next are sampled."""
    rollout = Rollout([], list(groups), [], [])
    with torch.no_grad(), model.adapter_frozen():
        conditions = model.encode([group.prompt.text for group in groups])
        sigmas = model.sigmas(config.steps).tolist()
        for row, group in enumerate(groups):
            pictures = []
            for first in range(0, group.size, config.micro_batch):
                trajectory, latents = sample_slice(model, group, first, conditions[row : row + 1], sigmas, config)
                rollout.trajectories.append(trajectory)
                pictures += model.decode(latents)
            samples = [Sample(group.prompt, image, group.latent_seed(k)) for k, image in enumerate(pictures)]
            rollout.samples.append(samples)
            rollout.scores.append(submit(samples))
    return rollout


@torch.no_grad()
def sample_slice(
    model: FlowModel, group: Group, first: int, condition: Condition, sigmas: Sequence[float], config: RolloutConfig
) -> tuple[Trajectory, torch.Tensor]:
    """Denoise one micro-batch; returns it with its final latents."""
    members = range(first, first + config.micro_batch)
    # With one latent for all, one row is denoised until the first noise parts them.
    x = model.noise([group.latent_seed(member) for member in (members[:1] if group.same_latent else members)])
    transitions = []
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        velocity = model.velocity(x, sigma, condition.repeat(len(x)), guidance=config.guidance)
        if index in group.stochastic:
            noise = model.noise([group.noise_seed(member, index) for member in members])
            taken = take_step(
                x.expand_as(noise), velocity.expand_as(noise), sigma, sigma_next,
                kind=config.kind, noise_level=config.noise_level, noise=noise,
            )  # fmt: skip
            transitions.append(Transition(x, taken.prev, sigma, sigma_next, taken.log_prob))
        else:
            taken = take_step(x, velocity, sigma, sigma_next, kind="ode")
        x = taken.prev
    return Trajectory(group, first, len(members), condition, tuple(transitions)), x
