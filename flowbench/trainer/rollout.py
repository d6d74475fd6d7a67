"""Sampling: groups of prompts -> pictures, and what the objective asked to keep of how they came about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise

import torch

from flowbench.errors import ConfigError
from flowbench.models.base import Condition
from flowbench.sampling.steps import step as take_step
from flowbench.trainer.groups import Group
from flowbench.trainer.objectives.base import Objective
from flowbench.trainer.policy import Policy
from flowbench.trainer.trajectory import Trajectory, Transition
from flowbench.types import Sample, Score


@dataclass(frozen=True)
class Rollout:
    """What one process sampled in one training step; `scores` has one future per group, in order."""

    trajectories: list[Trajectory]
    groups: list[Group]
    samples: list[list[Sample]]
    scores: list[Future[list[Score]]]


def collect(
    policy: Policy,
    objective: Objective,
    groups: Sequence[Group],
    submit: Callable[[list[Sample]], Future[list[Score]]],
) -> Rollout:
    """Sample all groups. A group's pictures go to `submit` at once: they are scored while the next are sampled.

    Raises NotFinite when a picture comes out of numbers that are not: no reward ever sees one.
    """
    model, rollout = policy.model, Rollout([], list(groups), [], [])
    with policy.using(objective.samples_with), model.adapter_frozen():
        conditions = model.encode([group.prompt.text for group in groups])
        sigmas = model.sigmas(objective.rollout.steps).tolist()
        for row, group in enumerate(groups):
            pictures = []
            for first in range(0, group.size, objective.rollout.micro_batch):
                condition = conditions[row : row + 1]
                trajectory, latents = sample_slice(policy, objective, group, first, condition, sigmas)
                rollout.trajectories.append(trajectory)
                made = model.decode(latents)
                pictures += [picture for picture in made if picture is not None]
                if None in made:
                    raise model.not_finite(f"training step {group.step + 1}: a picture for '{group.prompt.text}'")
            samples = [Sample(group.prompt, image, group.latent_seed(k)) for k, image in enumerate(pictures)]
            rollout.samples.append(samples)
            rollout.scores.append(submit(samples))
    return rollout


@torch.no_grad()
def sample_slice(
    policy: Policy, objective: Objective, group: Group, first: int, condition: Condition, sigmas: Sequence[float]
) -> tuple[Trajectory, torch.Tensor]:
    """Denoise one micro-batch; returns what is kept of it, and its final latents."""
    model, settings, noisy = policy.model, objective.rollout, objective.noisy_steps(group)
    members = range(first, first + settings.micro_batch)
    # With one latent for all, one row is denoised until the first noise parts them.
    x = model.noise([group.latent_seed(member) for member in (members[:1] if group.same_latent else members)])
    transitions = []
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        velocity = policy.velocity(x, sigma, condition)
        if index in noisy:
            noise = model.noise([group.noise_seed(member, index) for member in members])
            taken = take_step(
                x.expand_as(noise), velocity.expand_as(noise), sigma, sigma_next,
                kind=settings.kind, noise_level=float(settings.noise_level or 0.0), noise=noise,
            )  # fmt: skip
            if "transitions" in objective.stores:
                transitions.append(Transition(x, taken.prev, sigma, sigma_next, taken.log_prob))
        else:
            taken = take_step(x, velocity, sigma, sigma_next, kind="ode")
        x = taken.prev
    if len(x) != len(members):
        raise ConfigError(
            f"objective '{objective.settings.name}' draws no noise, and with rollout.same_latent all pictures of a "
            "group are one picture. Set rollout.same_latent=false."
        )
    latents = x if "latents" in objective.stores else None
    return Trajectory(group, first, len(members), condition, tuple(transitions), latents), x
