"""What the baselines of Flow-GRPO's paper share: whose pictures they learn from, and which of a bundle.

Offline, the pictures are those of the policy with which the run began: the base, or `adapter.start`. Online, a copy
of the adapter samples them that takes the live weights every so many training steps (arXiv 2505.05470, comparison with
other alignment methods).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from flowbench.baseline_config import BaselineConfig, RWRConfig, SFTConfig
from flowbench.models.base import Condition
from flowbench.trainer.learner import BEHAVIOUR, Shadow
from flowbench.trainer.objectives.base import Figure, Term
from flowbench.trainer.objectives.forward import REFERENCE, LevelsObjective
from flowbench.trainer.objectives.kl import velocity_kl
from flowbench.trainer.objectives.matching import flow_error
from flowbench.trainer.policy import Policy
from flowbench.trainer.trajectory import Bundle, Slice, Trajectory


class BaselineObjective(LevelsObjective):
    """Samples with a copy that takes the live weights after every `refresh_every`-th training step, or never."""

    settings: BaselineConfig

    def shadows(self) -> dict[str, Shadow]:
        every = self.settings.refresh_every
        return {BEHAVIOUR: Shadow(lambda step: 0.0 if every is not None and (step + 1) % every == 0 else 1.0)}


class WeightedMatching(BaselineObjective):
    """loss = signal x flow_error + kl_weight x mean((v - v_ref)^2), at `levels` noise levels of each picture that was
    taught, a mean over those pictures and levels."""

    sums: ClassVar[tuple[str, ...]] = ("error", "kl", "learned")
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            "policy/error", "weighted mean((v - (noise - x0))^2): how badly the pictures to learn are explained",
            direction="lower", shown="error {:.4f}",
        ),
        Figure("policy/kl", "KL to the reference: mean((v - v_ref)^2)", direction="lower", shown="kl {:.2g}"),
    )  # fmt: skip

    settings: SFTConfig | RWRConfig

    def compared(self, policy: Policy) -> set[str]:
        return {REFERENCE} if self.settings.kl_weight > 0 else set()

    def taught(self, bundle: Bundle) -> Sequence[Slice]:
        """Micro-batches of the pictures to learn, each scored."""
        return [each for each in bundle if each.count > 0]

    def terms(self, policy: Policy, bundle: Bundle) -> Iterator[Term]:
        for each in self.taught(bundle):
            for at in self.with_others(policy, self.noised(policy, each.trajectory)):
                v = policy.velocity(at.x_t, at.t, at.condition)
                scored, loss = each.scored.to(v.device), each.signal.to(v.device) * flow_error(v, at.x0, at.noise)
                figures: dict[str, Tensor | float] = {"error": _sum(loss.detach(), scored), "kl": math.nan}
                if REFERENCE in at.velocities:
                    kl = velocity_kl(v, at.reference)
                    loss = loss + self.settings.kl_weight * kl
                    figures["kl"] = _sum(kl.detach(), scored)
                figures |= {"learned": each.count, **self.of_signal(each)}
                yield Term(torch.where(scored, loss, 0.0), figures, each.count)

    def of_signal(self, each: Slice) -> dict[str, Tensor]:
        """Sums over the signals alone, for the figures of a subclass."""
        return {}

    def logged(self, totals: Mapping[str, float]) -> dict[str, float]:
        learned = totals["learned"] or math.nan
        return {"policy/error": totals["error"] / learned, "policy/kl": totals["kl"] / learned}


def with_signal(bundle: Bundle, size: int) -> list[Slice]:
    """The scored pictures of a bundle whose signal is not 0, in micro-batches of `size`: those of a group side by side,
    the largest signal first."""
    found = [
        (each.trajectory.places[row].group.index, -float(each.signal[row]), number, row)
        for number, each in enumerate(bundle.slices)
        for row in range(len(each.signal))
        if each.scored[row] and each.signal[row] != 0
    ]
    chosen = [(bundle.slices[number], row) for _, _, number, row in sorted(found)]
    return [_gathered(chosen[first : first + size]) for first in range(0, len(chosen), size)]


def _gathered(rows: Sequence[tuple[Slice, int]]) -> Slice:
    """Rows of several micro-batches as one."""
    held = [(each.trajectory, row) for each, row in rows]
    latents = [trajectory.latents[row] for trajectory, row in held if trajectory.latents is not None]
    trajectory = Trajectory(
        tuple(trajectory.places[row] for trajectory, row in held),
        Condition.cat([trajectory.prompts[[trajectory.prompt_rows[row]]] for trajectory, row in held]),
        tuple(range(len(rows))),
        (),
        torch.stack(latents) if len(latents) == len(rows) else None,
    )
    signal = torch.stack([each.signal[row] for each, row in rows])
    return Slice(trajectory, signal, torch.stack([each.scored[row] for each, row in rows]))


def _sum(values: Tensor, scored: Tensor) -> Tensor:
    return torch.where(scored, values, 0.0).sum()
