"""Learning from a rollout: the losses of each share of its groups, taken back and divided, and an optimizer step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from flowbench.errors import ConfigError
from flowbench.trainer.objectives.base import Objective
from flowbench.trainer.policy import Policy
from flowbench.trainer.processes import Processes
from flowbench.trainer.trajectory import Bundle

TERMS = ("loss", "count")


def update(
    policy: Policy, objective: Objective, bundles: Sequence[Bundle], lr: float, processes: Processes
) -> dict[str, float]:
    """`optimizer.updates` optimizer steps, each on an equal share of the groups; returns the logged figures.

    The loss of each is divided by all scored sample-points of its share, on all processes. A share of which nothing was
    scored takes no step.
    """
    learner = policy.learner
    sums, norms = Sums([*TERMS, *objective.sums]), []
    groups = objective.rollout.groups // learner.config.updates
    for share in range(learner.config.updates):
        mine = [bundle for bundle in bundles if bundle.groups[0].index // groups == share]
        count = torch.tensor(float(accumulate(policy, objective, mine, sums)), dtype=torch.float64)
        processes.sum([count])
        if count == 0:
            continue  # AdamW would move the weights without a gradient
        _finish_gradients(policy, float(count), processes)
        norms.append(learner.apply(lr))
    taken = [norm for norm in norms if math.isfinite(norm)]
    totals = sums.totals(processes)
    logged = objective.logged(totals)
    if list(logged) != [figure.name for figure in objective.figures]:
        raise ConfigError(
            f"objective '{objective.settings.name}' logs {', '.join(logged) or 'nothing'} and declares "
            f"{', '.join(figure.name for figure in objective.figures) or 'nothing'}: let `logged` give its `figures`."
        )
    return {
        "policy/loss": totals["loss"] / (totals["count"] or math.nan),
        **logged,
        "optimizer/grad_norm": sum(taken) / len(taken) if taken else math.nan,
        "optimizer/skipped": len(norms) - len(taken),
        "optimizer/lr": lr,
    }


def accumulate(policy: Policy, objective: Objective, bundles: Sequence[Bundle], sums: Sums) -> int:
    """Add the gradients of these bundles' losses, summed over scored members, times `policy.gradient_scale`.

    Returns the number of scored sample-points that the sum is to be divided by.
    """
    count = 0
    for bundle in bundles:
        for term in objective.terms(policy, bundle):
            loss = term.loss.sum()
            if loss.requires_grad:
                (loss * policy.gradient_scale).backward()
            sums.add(loss=loss.detach(), count=term.count, **term.figures)
            count += term.count
    return count


class Sums:
    """Running sums of a training step's figures, kept on the device: reading each would stall it."""

    def __init__(self, names: Sequence[str]) -> None:
        self._totals: dict[str, float | torch.Tensor] = dict.fromkeys(names, 0.0)

    def add(self, **values: float | torch.Tensor) -> None:
        for name, value in values.items():
            if name not in self._totals:
                raise ConfigError(f"a term of the objective sums up '{name}', which its `sums` does not name.")
            self._totals[name] = self._totals[name] + value

    def totals(self, processes: Processes) -> dict[str, float]:
        """Over all processes."""
        values = torch.tensor([float(value) for value in self._totals.values()], dtype=torch.float64)
        processes.sum([values])
        return dict(zip(self._totals, values.tolist(), strict=True))


def _finish_gradients(policy: Policy, count: float, processes: Processes) -> None:
    """Sum the gradients over the processes and divide them."""
    parameters = policy.learner.parameters.values()
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    processes.sum(gradients)
    for gradient in gradients:
        gradient.div_(count * policy.gradient_scale)
