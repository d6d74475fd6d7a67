"""The on-policy check: before the first update, replaying a rollout must give back its own log-probs to the bit."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from flowbench.config import RolloutConfig
from flowbench.errors import PolicyMismatch
from flowbench.models.base import FlowModel
from flowbench.trainer.groups import Group
from flowbench.trainer.rollout import sample_slice
from flowbench.trainer.update import gradient_scale, replay

WAY_OUT = "Report this with your device, dtype and versions; training on it would follow noise."


@dataclass(frozen=True)
class PolicyCheck:
    """transitions checked; largest |ratio - 1|; largest |v - v_ref| (None: the adapter has moved already);
    adapter tensors that received a gradient, of how many."""

    transitions: int
    ratio_error: float
    reference_error: float | None
    with_gradient: int
    parameters: int


def check_policy(model: FlowModel, group: Group, config: RolloutConfig) -> PolicyCheck:
    """Sample one micro-batch, replay it, compare. Raises PolicyMismatch when anything differs by a single bit.

    With a fresh adapter (every B matrix 0) the reference policy must be the policy, and exactly the B matrices must
    receive a gradient: an A matrix gets its first one after B has moved.
    """
    parameters = model.adapter_parameters()
    fresh = not any(bool(parameter.any()) for name, parameter in parameters.items() if "lora_B" in name)
    condition = model.encode([group.prompt.text])
    with torch.no_grad(), model.adapter_frozen():
        trajectory, _ = sample_slice(model, group, 0, condition, model.sigmas(config.steps).tolist(), config)
    ratio_errors, reference_errors = [], []
    for transition in trajectory.transitions:
        now = replay(model, trajectory, transition, config)
        ratio_errors.append((torch.exp(now.step.log_prob.detach() - transition.log_prob) - 1).abs().max())
        (now.step.log_prob.sum() * gradient_scale(model)).backward()
        with torch.no_grad(), model.adapter_disabled():
            reference = replay(model, trajectory, transition, config)
        reference_errors.append((now.velocity.detach() - reference.velocity).abs().max())
    ratio_error, reference_error = (float(torch.stack(errors).max()) for errors in (ratio_errors, reference_errors))
    reached = {name for name, p in parameters.items() if p.grad is not None and _moves(p.grad)}
    for parameter in parameters.values():
        parameter.grad = None
    expected = {name for name in parameters if "lora_B" in name or not fresh}
    expected -= {name for name in expected if any(f"{layer}." in name for layer in model.idle_layers)}
    _judge(ratio_error, reference_error if fresh else 0.0, expected - reached)
    return PolicyCheck(
        len(trajectory.transitions), ratio_error, reference_error if fresh else None, len(reached), len(parameters)
    )


def _moves(gradient: torch.Tensor) -> bool:
    return bool(gradient.any()) and bool(gradient.isfinite().all())


def _judge(ratio_error: float, reference_error: float, unreached: set[str]) -> None:
    if ratio_error != 0:
        raise PolicyMismatch(
            f"on-policy check: rollout and replay differ, |ratio - 1| is up to {ratio_error:.2e}. {WAY_OUT}"
        )
    if reference_error != 0:
        raise PolicyMismatch(
            f"on-policy check: a fresh adapter changes the velocity by up to {reference_error:.2e}. {WAY_OUT}"
        )
    if len(unreached) > 0:
        raise PolicyMismatch(
            f"on-policy check: no finite gradient reaches {len(unreached)} tensors, such as {min(unreached)}. {WAY_OUT}"
        )
