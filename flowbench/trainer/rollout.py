"""Sampling: groups of prompts -> pictures, and what the objective asked to keep of how they came about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch

from flowbench.models.base import Condition
from flowbench.trainer.denoising import Denoiser
from flowbench.trainer.groups import Group
from flowbench.trainer.objectives.base import Objective
from flowbench.trainer.policy import Policy
from flowbench.trainer.trajectory import Place, Trajectory
from flowbench.types import Sample, Score


@dataclass(frozen=True)
class Rollout:
    """What one process sampled in one training step; `scores` has one future per group, in order."""

    trajectories: list[Trajectory] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    samples: list[list[Sample]] = field(default_factory=list)
    scores: list[Future[list[Score]]] = field(default_factory=list)


def collect(
    policy: Policy,
    objective: Objective,
    groups: Sequence[Group],
    submit: Callable[[list[Sample]], Future[list[Score]]],
    *,
    kept_groups: int = 0,
) -> Rollout:
    """Sample all groups. A group's pictures go to `submit` at once: they are scored while the next are sampled.

    kept_groups: of that many first groups of the step, the stochastic steps keep their graph (`rollout.keep_graph`).
    Raises NotFinite when a picture comes out of numbers that are not: no reward ever sees one.
    """
    model, rollout, size = policy.model, Rollout(), objective.rollout.bundle
    with policy.using(objective.samples_with), model.adapter_frozen():
        conditions = policy.encode([group.prompt.text for group in groups])
        for first in range(0, len(groups), size):
            bundle, waiting = groups[first : first + size], list[Sample]()
            encoded = conditions[first : first + size]
            keep = bundle[0].index < kept_groups
            for trajectory, latents in sample_bundle(policy, objective, bundle, encoded, keep_graph=keep):
                rollout.trajectories.append(trajectory)
                for place, picture in zip(trajectory.places, model.decode(latents), strict=True):
                    group, member = place
                    if picture is None:
                        raise model.not_finite(f"training step {group.step + 1}: a picture for '{group.prompt.text}'")
                    waiting.append(Sample(group.prompt, picture, group.latent_seed(member)))
                    if member == group.size - 1:
                        rollout.groups.append(group)
                        rollout.samples.append(waiting)
                        rollout.scores.append(submit(waiting))
                        waiting = []
    return rollout


@torch.no_grad()
def sample_bundle(
    policy: Policy, objective: Objective, groups: Sequence[Group], conditions: Condition, *, keep_graph: bool = False
) -> Iterator[tuple[Trajectory, torch.Tensor]]:
    """Denoise whole groups, one micro-batch after the other: what is kept of each, and its final latents.

    conditions: a row for each group. Where latents are shared, one row is denoised for all who share it, together with
    those of the other groups, until noise parts them.
    """
    size = objective.rollout.micro_batch
    places = [Place(group, member) for group in groups for member in range(group.size)]
    row_of = {group.index: row for row, group in enumerate(groups)}
    denoiser = Denoiser(policy, objective, keep_graph=keep_graph)
    parted = denoiser.part(places, conditions, row_of)
    for first in range(0, len(places), size):
        some = tuple(places[first : first + size])
        rows = tuple(row_of[group.index] for group, _ in some)
        latents, transitions = denoiser.finish(some, conditions[list(rows)], parted)
        if first == 0:
            transitions = [*parted.transitions, *transitions]
        kept = latents if "latents" in objective.stores else None
        yield Trajectory(some, conditions, rows, tuple(transitions), kept), latents
