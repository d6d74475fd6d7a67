"""Denoising the pictures of a bundle: first the latents that several share, then each micro-batch to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from flowbench.errors import ConfigError
from flowbench.models.base import Condition
from flowbench.sampling.solvers import History, solve
from flowbench.sampling.steps import step as take_step
from flowbench.trainer.objectives.base import Objective
from flowbench.trainer.policy import Policy
from flowbench.trainer.trajectory import Place, Transition, spread

Key = tuple[int, int]
"""(group, member), or (group, latent)"""
Memory = dict[int, torch.Tensor]
"""row -> x0_hat (C, h, w) of its step before, if that was one of the ODE: what the solver goes on from"""


@dataclass
class Parted:
    """The pictures that shared a latent, each as it was after the step at which they parted."""

    latents: dict[Key, torch.Tensor] = field(default_factory=dict)
    """(C, h, w)"""
    starts: dict[Key, int] = field(default_factory=dict)
    """the denoising step that is next"""
    transitions: list[Transition] = field(default_factory=list)
    """the steps at which they parted, when those are stored"""


@dataclass
class _Root:
    """A latent that several pictures share."""

    row: int
    """its prompt's"""
    leaving: dict[int, list[Place]] = field(default_factory=dict)
    """denoising step -> who parts from it there"""

    @property
    def last(self) -> int:
        return max(self.leaving)


class Denoiser:
    """The denoising steps of a rollout as the objective wants them: which draw noise, and what is kept of those."""

    def __init__(self, policy: Policy, objective: Objective, *, keep_graph: bool = False):
        self._policy = policy
        self._objective = objective
        self._settings = objective.rollout
        self._keep_graph = keep_graph
        self._sigmas = policy.model.sigmas(self._settings.steps).tolist()
        self._of_group: dict[int, Sequence[int]] = {}

    def part(self, places: Sequence[Place], conditions: Condition, row_of: dict[int, int]) -> Parted:
        """Denoise every latent that pictures of these places share, up to where the last of them parts from it.

        conditions: encoded prompts, one row per group; row_of: a group's row. Raises ConfigError where no noise would
        ever part the pictures of a group.
        """
        parted, roots = Parted(), list(self._roots(places, row_of).values())
        size = self._settings.micro_batch
        for first in range(0, len(roots), size):
            self._denoise_roots(roots[first : first + size], conditions, parted)
        return parted

    def finish(
        self, places: Sequence[Place], condition: Condition, parted: Parted
    ) -> tuple[torch.Tensor, list[Transition]]:
        """Denoise one micro-batch to its end: final latents, and its own stochastic steps where those are stored.

        condition: a row per picture. Those that shared a latent go on from where they parted.
        """
        x, starts, transitions = *self._start(places, parted), []
        memory: Memory = {}
        noisy = [self._noisy_steps(place) for place in places]
        for index in range(min(starts), self._settings.steps):
            active = [row for row, start in enumerate(starts) if start <= index]
            noised = [row for row in active if index in noisy[row]]
            others = [row for row in active if index not in noisy[row]]
            before = x
            if noised:
                given, texts = _rows(before, noised), condition[noised]
                velocity = self._velocity(given, index, texts, noisy=True)
                chosen = tuple(places[row] for row in noised)
                taken = self._noise(chosen, given, tuple(range(len(noised))), texts, index, velocity)
                transitions.append(taken)
                x = _put(x, noised, taken.prev)
                for row in noised:
                    memory.pop(row, None)
            if others:
                given, texts = _rows(before, others), condition[others]
                x = _put(x, others, self._ode(given, others, texts, index, self._velocity(given, index, texts), memory))
        return x, transitions if "transitions" in self._objective.stores else []

    def _start(self, places: Sequence[Place], parted: Parted) -> tuple[torch.Tensor, list[int]]:
        """Latents (B, C, h, w) and the next step of each picture."""
        keys = [(group.index, member) for group, member in places]
        seeds = [group.latent_seed(member) for group, member in places]
        if not parted.latents:
            return self._policy.model.noise(seeds), [0] * len(places)
        return torch.stack([parted.latents[key] for key in keys]), [parted.starts[key] for key in keys]

    def _noisy_steps(self, place: Place) -> Sequence[int]:
        group, member = place
        if group.index not in self._of_group:
            self._of_group[group.index] = self._objective.noisy_steps(group)
        return group.noisy_steps_of(member, self._of_group[group.index])

    def _roots(self, places: Sequence[Place], row_of: dict[int, int]) -> dict[Key, _Root]:
        roots: dict[Key, _Root] = {}
        for place in places:
            group, member = place
            if group.shares_latents:
                steps = self._noisy_steps(place)
                if not steps:
                    raise ConfigError(
                        f"objective '{self._objective.settings.name}' draws no noise, and with rollout.same_latent all "
                        "pictures of a group are one picture. Set rollout.same_latent=false."
                    )
                root = roots.setdefault((group.index, group.latent_of(member)), _Root(row_of[group.index]))
                root.leaving.setdefault(steps[0], []).append(place)
        return roots

    def _denoise_roots(self, roots: Sequence[_Root], conditions: Condition, parted: Parted) -> None:
        """All of them together, row by row; those from which somebody parts in a call of their own, which the update
        replays as it is."""
        first = [next(iter(root.leaving.values()))[0] for root in roots]
        x = self._policy.model.noise([group.latent_seed(member) for group, member in first])
        condition = conditions[[root.row for root in roots]]
        memory: Memory = {}
        for index in range(max(root.last for root in roots) + 1):
            left = [row for row, root in enumerate(roots) if index in root.leaving]
            staying = [row for row, root in enumerate(roots) if root.last > index and index not in root.leaving]
            before = x
            for rows in filter(None, (left, staying)):
                given, texts = _rows(before, rows), condition[rows]
                velocity = self._velocity(given, index, texts, noisy=rows is left)
                if rows is left:
                    self._part([roots[row].leaving[index] for row in left], given, texts, index, velocity, parted)
                x = _put(x, rows, self._ode(given, rows, texts, index, velocity.detach(), memory))

    def _part(
        self,
        leaving: Sequence[Sequence[Place]],
        x: torch.Tensor,
        condition: Condition,
        index: int,
        velocity: torch.Tensor,
        parted: Parted,
    ) -> None:
        """Let the pictures that part here go: `leaving` names them for each row of x."""
        places = tuple(place for some in leaving for place in some)
        rows = tuple(row for row, some in enumerate(leaving) for _ in some)
        taken = self._noise(places, x, rows, condition, index, velocity)
        if "transitions" in self._objective.stores:
            parted.transitions.append(taken)
        for (group, member), latent in zip(places, taken.prev, strict=True):
            parted.latents[group.index, member] = latent
            parted.starts[group.index, member] = index + 1

    def _velocity(self, x: torch.Tensor, index: int, condition: Condition, *, noisy: bool = False) -> torch.Tensor:
        with torch.set_grad_enabled(noisy and self._keep_graph):
            return self._policy.velocity(x, self._sigmas[index], condition)

    def _noise(
        self,
        places: tuple[Place, ...],
        x: torch.Tensor,
        rows: tuple[int, ...],
        condition: Condition,
        index: int,
        velocity: torch.Tensor,
    ) -> Transition:
        """A stochastic step of these pictures, each from its row of x."""
        sigma, sigma_next = self._sigmas[index : index + 2]
        noise = self._policy.model.noise([group.noise_seed(member, index) for group, member in places])
        taken = take_step(
            spread(x, rows), spread(velocity.detach(), rows), sigma, sigma_next,
            kind=self._settings.kind, noise_level=float(self._settings.noise_level or 0.0), noise=noise,
        )  # fmt: skip
        return Transition(
            places, x, rows, condition, taken.prev, sigma, sigma_next, taken.log_prob,
            mean=taken.mean if "means" in self._objective.stores else None,
            velocity=velocity if velocity.requires_grad else None,
        )  # fmt: skip

    def _ode(
        self,
        x: torch.Tensor,
        rows: Sequence[int],
        condition: Condition,
        index: int,
        velocity: torch.Tensor,
        memory: Memory,
    ) -> torch.Tensor:
        """One deterministic step of these rows. After a step with noise the solver begins afresh."""
        sigma, sigma_next = self._sigmas[index : index + 2]
        values = torch.empty_like(x)
        known = [at for at, row in enumerate(rows) if row in memory]
        fresh = [at for at, row in enumerate(rows) if row not in memory]
        for some in filter(None, (known, fresh)):
            history = None
            if some is known:
                history = History(torch.stack([memory[rows[at]] for at in known]), self._sigmas[index - 1])
            solved = solve(
                self._settings.solver, x[some], velocity[some], sigma, sigma_next,
                history=history, velocity=partial(self._policy.velocity, condition=condition[some]),
            )  # fmt: skip
            values[some] = solved.prev
            if solved.history is not None:
                memory |= {rows[at]: x0_hat for at, x0_hat in zip(some, solved.history.x0_hat, strict=True)}
        return values


def _rows(x: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
    """x[rows]; x itself when those are all."""
    return x if len(rows) == len(x) else x[list(rows)]


def _put(x: torch.Tensor, rows: Sequence[int], values: torch.Tensor) -> torch.Tensor:
    """x with other values in these rows; never in place, for a transition may hold x."""
    if len(rows) == len(x):
        return values
    x = x.clone()
    x[list(rows)] = values
    return x
