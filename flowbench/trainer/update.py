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
    """A trajectory with, on the CPU, its members' advantages (B,) and which of them were scored, (B,) bool."""

    trajectory: Trajectory
    advantages: torch.Tensor
    scored: torch.Tensor


def replay(model: FlowModel, trajectory: Trajectory, transition: Transition, config: RolloutConfig) -> Replay:
    """Evaluate the current policy on a transition, in exactly the batch in which it was sampled."""
    x = transition.x
    velocity = model.velocity(x, transition.sigma, trajectory.condition.repeat(len(x)), guidance=config.guidance)
    x, velocity = x.expand_as(transition.prev), velocity.expand_as(transition.prev)
    step = take_step(
        x, velocity, transition.sigma, transition.sigma_next,
        kind=config.kind, noise_level=config.noise_level, prev=transition.prev,
    )  # fmt: skip
    return Replay(velocity, step)


class Sums:
    """Running sums of a training step's figures over sample-steps, kept on the device: reading each would stall it.

    Ratios are summed as ratio - 1, whose square would drown in rounding otherwise. `replayed` counts the scored
    sample-steps that were replayed, `scored` all of them.
    """

    NAMES = ("loss", "excess", "excess_square", "below", "above", "kl", "replayed", "scored")

    def __init__(self) -> None:
        self.totals: dict[str, float | torch.Tensor] = dict.fromkeys(self.NAMES, 0.0)

    def add(self, **values: float | torch.Tensor) -> None:
        for name, value in values.items():
            self.totals[name] = self.totals[name] + value

    def means(self, processes: Processes) -> dict[str, float]:
        """Over all processes; NaN where nothing was replayed, or (KL) nothing was measured."""
        totals = torch.tensor([float(value) for value in self.totals.values()], dtype=torch.float64)
        processes.sum([totals])
        sums = dict(zip(self.NAMES, totals.tolist(), strict=True))
        replayed = sums["replayed"] or math.nan
        excess = sums["excess"] / replayed
        return {
            "policy/loss": sums["loss"] / (sums["scored"] or math.nan),
            "policy/ratio_mean": 1 + excess,
            "policy/ratio_std": max(0.0, sums["excess_square"] / replayed - excess**2) ** 0.5,
            "policy/clip_low": sums["below"] / replayed,
            "policy/clip_high": sums["above"] / replayed,
            "policy/kl": sums["kl"] / replayed,
        }


def accumulate(model: FlowModel, batch: Batch, rollout: RolloutConfig, objective: ObjectiveConfig, sums: Sums) -> None:
    """Add the gradient of one micro-batch's loss, summed over scored sample-steps, times `gradient_scale(model)`."""
    count = int(batch.scored.sum())
    sums.add(scored=count * len(batch.trajectory.transitions))
    if count == 0 or (objective.kl_weight == 0 and not batch.advantages.any()):
        return  # no gradient to be had: skipping the replay changes nothing but the time it takes
    for transition in batch.trajectory.transitions:
        now = replay(model, batch.trajectory, transition, rollout)
        device = now.step.log_prob.device
        scored = batch.scored.to(device)
        policy = policy_loss(
            now.step.log_prob, transition.log_prob, batch.advantages.to(device), clip=objective.clip_range
        )
        kl = _kl(model, batch.trajectory, transition, now, rollout, objective)
        penalty = 0.0 if kl is None else objective.kl_weight * kl
        loss = torch.where(scored, policy.loss + penalty, 0.0).sum()
        (loss * gradient_scale(model)).backward()
        excess = torch.where(scored, policy.ratio - 1, 0.0)
        sums.add(
            loss=loss.detach(), excess=excess.sum(), excess_square=excess.square().sum(),
            below=(policy.below & scored).sum(), above=(policy.above & scored).sum(),
            kl=math.nan if kl is None else torch.where(scored, kl.detach(), 0.0).sum(), replayed=count,
        )  # fmt: skip


def gradient_scale(model: FlowModel) -> int:
    """Elements of a latent: what the loss is multiplied by on its way back.

    A log-prob is a mean over them, so its gradient at each is around 1e-5 in a large latent, and near the smallest
    float16 number after the division by the samples of an update. Scaled, it is around 1 in every dtype.
    """
    return math.prod(model.latent_shape)


def _kl(
    model: FlowModel, trajectory: Trajectory, transition: Transition, now: Replay,
    rollout: RolloutConfig, objective: ObjectiveConfig,
) -> torch.Tensor | None:  # fmt: skip
    if objective.kl_weight == 0:
        return None
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
    """`learner.config.updates` optimizer steps, each on an equal share of the groups; returns the logged figures.

    The loss of each is divided by all scored sample-steps of its share, on all processes, flat groups included. A share
    of which nothing was scored takes no step.
    """
    sums, norms = Sums(), []
    share = rollout.groups // learner.config.updates
    for part in range(learner.config.updates):
        mine = [batch for batch in batches if batch.trajectory.group.index // share == part]
        for batch in mine:
            accumulate(model, batch, rollout, objective, sums)
        scored = _scored_steps(mine, processes)
        if scored == 0:
            continue  # AdamW would move the weights without a gradient
        _finish_gradients(learner, scored * gradient_scale(model), processes)
        norms.append(learner.apply(lr))
    taken = [norm for norm in norms if math.isfinite(norm)]
    return sums.means(processes) | {
        "optimizer/grad_norm": sum(taken) / len(taken) if taken else math.nan,
        "optimizer/skipped": len(norms) - len(taken),
        "optimizer/lr": lr,
    }


def _finish_gradients(learner: Learner, divisor: float, processes: Processes) -> None:
    """Sum the gradients over the processes and divide them."""
    for parameter in learner.parameters.values():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in learner.parameters.values() if parameter.grad is not None]
    processes.sum(gradients)
    for gradient in gradients:
        gradient.div_(divisor)


def _scored_steps(batches: Sequence[Batch], processes: Processes) -> float:
    counts = [float(batch.scored.sum()) * len(batch.trajectory.transitions) for batch in batches]
    total = torch.tensor(sum(counts), dtype=torch.float64)
    processes.sum([total])
    return float(total)
