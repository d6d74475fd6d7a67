"""Pictures that somebody else has made in the place of a rollout's: rows of a table, encoded to final latents.

A row is a group of one or two members; its rewards say which one was chosen. So an objective learns from it as from
pictures of the model's own, and everything else of a training step stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy
import torch

from flowbench import images
from flowbench.config import RolloutConfig
from flowbench.prompts.examples import Example, Examples
from flowbench.trainer.groups import Group, draw_seed
from flowbench.trainer.objectives.base import Objective
from flowbench.trainer.policy import Policy
from flowbench.trainer.trajectory import Place, Trajectory


class ExampleSampler:
    """Which rows a training step learns from, a function of (seed, step): all of them in an order of the pass's own,
    then the next pass."""

    def __init__(self, examples: Examples, rollout: RolloutConfig, seed: int):
        self._rows = examples.rows
        self._groups = rollout.groups
        self._seed = seed
        self.members = 2 if examples.are_pairs else 1

    def at(self, step: int) -> list[Group]:
        """All groups of a training step (0-based), on every process the same: a row each."""
        return [
            Group(step, index, self._row(step, index).prompt, self.members, self._seed) for index in range(self._groups)
        ]

    def example(self, group: Group) -> Example:
        """The row that a group is of."""
        return self._row(group.step, group.index)

    def rewards(self) -> torch.Tensor:
        """Of all groups of a step, (groups, members) float64: 1 for what was chosen, 0 for what was rejected."""
        return torch.tensor([[1.0, 0.0][: self.members]] * self._groups, dtype=torch.float64)

    def figures(self, step: int) -> dict[str, float]:
        """What is logged of the data after training step `step` (0-based)."""
        return {"data/passes": (step + 1) * self._groups / len(self._rows)}

    def _row(self, step: int, index: int) -> Example:
        row_pass, place = divmod(step * self._groups + index, len(self._rows))
        return self._rows[_order(draw_seed(self._seed, "rows", row_pass), len(self._rows))[place]]


@lru_cache(maxsize=2)
def _order(seed: int, rows: int) -> numpy.ndarray:
    return numpy.random.default_rng(seed).permutation(rows)


@torch.no_grad()
def encode_examples(
    policy: Policy, objective: Objective, groups: Sequence[Group], sampler: ExampleSampler
) -> Iterator[Trajectory]:
    """The micro-batches of these groups' pictures, each resized to the model's and encoded, bundle by bundle.

    Raises RunError for a picture that cannot be read, NotFinite where the latents of one are not.
    """
    model, size = policy.model, objective.rollout.micro_batch
    for first in range(0, len(groups), objective.rollout.bundle):
        bundle = groups[first : first + objective.rollout.bundle]
        places = [Place(group, member) for group in bundle for member in range(group.size)]
        row_of: Mapping[int, int] = {group.index: row for row, group in enumerate(bundle)}
        prompts = policy.encode([group.prompt.text for group in bundle])
        for start in range(0, len(places), size):
            some = tuple(places[start : start + size])
            given = [sampler.example(group).pictures[member] for group, member in some]
            pictures = [images.central_square(each.load(), model.resolution) for each in given]
            latents = model.encode_pixels(images.to_tensor(pictures).to(model.device))
            for each, is_sound in zip(given, latents.flatten(1).isfinite().all(1).tolist(), strict=True):
                if not is_sound:
                    raise model.not_finite(f"the encoded picture {each.name}")
            yield Trajectory(some, prompts, tuple(row_of[group.index] for group, _ in some), (), latents)
