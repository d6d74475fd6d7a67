"""Learning from a rollout: replay its stochastic steps with gradient, and step the optimizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from flowbench.config import ObjectiveConfig, RolloutConfig
from flowbench.models.base import FlowModel
from flowbench.sampling.steps import Step
from flowbench.sampling.steps import step as take_step
from flowbench.trainer.learner import Learner
from flowbench.trainer.objectives.flow_grpo import policy_loss
from flowbench.trainer.objectives.kl import kl_penalty
from flowbench.trainer.processes import Processes
from flowbench.trainer.rollout import Trajectory, Transition


@dataclass(frozen=True)
class Replay:
    """The policy's velocity (B, C, h, w) and step at one recorded transition."""

    velocity: torch.Tensor
    step: Step


@dataclass(frozen=True)
class Batch:
    """A trajectory with the advantages of its members, (B,), and which of them were scored, (B,) bool."""

    trajectory: Trajectory
    advantages: torch.Tensor
    scored: torch.Tensor


def replay(model: FlowModel, trajectory: Trajectory, transition: Transition, config: RolloutConfig) -> Replay:
    """Evaluate the current policy on a transition, in exactly the batch in which it was sampled."""
    condition = trajectory.condition.repeat(trajectory.size)
    velocity = model.velocity(transition.x, transition.sigma, condition, guidance=config.guidance)
    step = take_step(
        transition.x, velocity, transition.sigma, transition.sigma_next,
        kind=config.kind, noise_level=config.noise_level, prev=transition.prev,
    )  # fmt: skip
    return Replay(velocity, step)


class Sums:
    """Running sums of a training step's figures over all replayed sample-steps; means are taken once, over all processes."""

    NAMES = ("loss", "ratio", "ratio_square", "below", "above", "kl", "count")

    def __init__(self) -> None:
        self.totals = torch.zeros(len(self.NAMES), dtype=torch.float64)

    def add(self, **values: float | torch.Tensor) -> None:
        for name, value in values.items():
            self.totals[self.NAMES.index(name)] += float(value)

    def means(self, processes: Processes) -> dict[str, float]:
        totals = self.totals.to(processes.device)
        processes.sum([totals])
        sums = dict(zip(self.NAMES, totals.tolist(), strict=True))
        count = sums.pop("count")
        mean = {name: value / count if count else math.nan for name, value in sums.items()}
        return {
            "policy/loss": mean["loss"],
            "policy/ratio_mean": mean["ratio"],
            "policy/ratio_std": abs(mean["ratio_square"] - mean["ratio"] ** 2) ** 0.5,
            "policy/clip_low": mean["below"],
            "policy/clip_high": mean["above"],
            "policy/kl": mean["kl"],
        }


def accumulate(
    model: FlowModel, batch: Batch, divisor: float, rollout: RolloutConfig, objective: ObjectiveConfig, sums: Sums
) -> None:
    """Add one micro-batch's gradient: its summed loss over `divisor`, the scored sample-steps of the whole update."""
    if not batch.scored.any() or (objective.kl_weight == 0 and not batch.advantages.any()):
        return  # no gradient to be had: skipping the replay changes nothing but the time it takes
    for transition in batch.trajectory.transitions:
        now = replay(model, batch.trajectory, transition, rollout)
        policy = policy_loss(now.step.log_prob, transition.log_prob, batch.advantages, clip=objective.clip_range)
        kl = _kl(model, batch.trajectory, transition, now, rollout, objective)
        loss = torch.where(batch.scored, policy.loss + objective.kl_weight * kl, 0.0).sum() / divisor
        loss.backward()
        ratio = policy.ratio[batch.scored]
        sums.add(
            loss=loss.detach() * divisor, ratio=ratio.sum(), ratio_square=ratio.square().sum(),
            below=policy.below[batch.scored].sum(), above=policy.above[batch.scored].sum(),
            kl=kl.detach()[batch.scored].sum(), count=len(ratio),
        )  # fmt: skip


def _kl(
    model: FlowModel, trajectory: Trajectory, transition: Transition, now: Replay,
    rollout: RolloutConfig, objective: ObjectiveConfig,
) -> torch.Tensor:  # fmt: skip
    if objective.kl_weight == 0:
        return torch.zeros(trajectory.size, dtype=torch.float64, device=now.velocity.device)
    with torch.no_grad(), model.adapter_disabled():
        reference = replay(model, trajectory, transition, rollout)
    return kl_penalty(
        objective.kl, now.step, reference.step, now.velocity, reference.velocity,
        kind=rollout.kind, sigma=transition.sigma, sigma_next=transition.sigma_next,
    )  # fmt: skip


def update(
    model: FlowModel, learner: Learner, batches: Sequence[Batch], lr: float,
    rollout: RolloutConfig, objective: ObjectiveConfig, processes: Processes,
) -> dict[str, float]:  # fmt: skip
    """`learner.config.updates` optimizer steps, each on an equal share of the groups; returns the logged figures."""
    sums, norms = Sums(), []
    num_updates = learner.config.updates
    share = rollout.groups // num_updates
    for part in range(num_updates):
        mine = [batch for batch in batches if batch.trajectory.group.index // share == part]
        divisor = _scored_steps(mine, processes)
        for batch in mine:
            accumulate(model, batch, divisor, rollout, objective, sums)
        for parameter in learner.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        processes.sum(parameter.grad for parameter in learner.parameters.values() if parameter.grad is not None)
        norms.append(learner.apply(lr))
    return {**sums.means(processes), "optimizer/grad_norm": sum(norms) / len(norms), "optimizer/lr": lr}


def _scored_steps(batches: Sequence[Batch], processes: Processes) -> float:
    counts = [float(batch.scored.sum()) * len(batch.trajectory.transitions) for batch in batches]
    total = torch.tensor(sum(counts), dtype=torch.float64, device=processes.device)
    processes.sum([total])
    return max(1.0, float(total))
