"""Which pictures a training step makes: a function of (seed, step), not an iterator. Resuming needs no state."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy

from flowbench.config import RolloutConfig
from flowbench.errors import ConfigError
from flowbench.registry import did_you_mean
from flowbench.types import Prompt


@dataclass(frozen=True)
class Group:
    """`size` pictures of one prompt, none of which shares its noise with another.

    With `same_latent` they share the initial latent: up to the first stochastic step they are one picture. With
    `branches` they come in sets of that many, and only a set's members are compared: they share their latent and part
    at the one stochastic step that they have (TempFlow-GRPO).
    """

    step: int
    """training step, from 0"""
    index: int
    """its place among all groups of the step"""
    prompt: Prompt
    """what its pictures are of"""
    size: int
    """number of pictures"""
    seed: int
    """the run's"""
    same_latent: bool = False
    """whether its pictures start from one latent"""
    branches: int | None = None
    """members of a set; None: the whole group is compared"""
    branch_steps: int = 1
    """stochastic steps over which the sets are dealt in turn"""

    @property
    def shares_latents(self) -> bool:
        """Whether some of its pictures start from one latent."""
        return self.same_latent or self.branches is not None

    def set_of(self, member: int) -> int:
        """Which set of compared members it belongs to, from 0."""
        return 0 if self.branches is None else member // self.branches

    def latent_of(self, member: int) -> int:
        """Which of the group's latents a member starts from, from 0."""
        if self.branches is not None:
            return self.set_of(member) // self.branch_steps
        return 0 if self.same_latent else member

    def noisy_steps_of(self, member: int, steps: Sequence[int]) -> Sequence[int]:
        """Which of the group's stochastic `steps` draw noise for this member."""
        return steps if self.branches is None else (steps[self.set_of(member) % self.branch_steps],)

    def latent_seed(self, member: int) -> int:
        """Seed of a member's initial latent."""
        return self.draw("latent", self.latent_of(member))

    def noise_seed(self, member: int, denoising_step: int) -> int:
        """Seed of a member's noise at one stochastic step."""
        return self.draw("noise", member, denoising_step)

    def draw(self, purpose: str, member: int, *more: int) -> int:
        """Seed of a draw of one member, a function of (run seed, purpose, step, group, member, ...)."""
        return draw_seed(self.seed, purpose, self.step, self.index, member, *more)


def draw_seed(*key: int | str) -> int:
    """A seed in [0, 2^63) that is a function of its key alone: (run seed, purpose, step, group, member)."""
    text = "/".join(str(part) for part in key)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class GroupSampler:
    """Draws the groups of a training step: first the tag by its weight, then a prompt of that tag, all independent."""

    def __init__(
        self, prompts: Sequence[Prompt], rollout: RolloutConfig, tag_weights: Mapping[str, float] | None, seed: int
    ):
        self._rollout = rollout
        self._seed = seed
        self._pools, self._chances = _pools(prompts, tag_weights)

    def at(self, step: int) -> list[Group]:
        """All groups of a training step (0-based), on every process the same."""
        rng = numpy.random.default_rng([self._seed, int.from_bytes(b"prompts", "big"), step])
        rollout, groups = self._rollout, []
        branches = {"branches": rollout.branches, "branch_steps": rollout.noisy_count} if rollout.branches else {}
        for index in range(rollout.groups):
            pool = self._pools[int(rng.choice(len(self._pools), p=self._chances))]
            prompt = pool[int(rng.integers(len(pool)))]
            size, same_latent = rollout.group_size, rollout.same_latent
            groups.append(Group(step, index, prompt, size, self._seed, same_latent, **branches))
        return groups


def _pools(
    prompts: Sequence[Prompt], tag_weights: Mapping[str, float] | None
) -> tuple[list[list[Prompt]], numpy.ndarray]:
    if not prompts:
        raise ConfigError("the prompt set has no training prompts. Choose another prompts.name.")
    if tag_weights is None:
        return [list(prompts)], numpy.ones(1)
    by_tag: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_tag.setdefault(prompt.tag or "", []).append(prompt)
    for tag in tag_weights:
        if tag not in by_tag:
            known = sorted(filter(None, by_tag))
            raise ConfigError(
                f"prompts.tag_weights names the tag '{tag}', which no prompt has.{did_you_mean(tag, known)} "
                + (f"Tags: {', '.join(known)}." if known else "They have no tags: set prompts.tag_weights=null.")
            )
    chosen = {tag: weight for tag, weight in tag_weights.items() if weight > 0}
    weights = numpy.array(list(chosen.values()), dtype=float)
    return [by_tag[tag] for tag in chosen], weights / weights.sum()
