"""The check before the first update of every run: the policy that learns must be, to the bit, the one that sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from flowbench.errors import PolicyMismatch
from flowbench.trainer.groups import Group
from flowbench.trainer.objectives.base import Objective
from flowbench.trainer.policy import Policy
from flowbench.trainer.rollout import sample_bundle
from flowbench.trainer.scoring import to_bundles
from flowbench.trainer.trajectory import Bundle

WAY_OUT = "Report this with your device, dtype and versions; training on it would follow noise."


@dataclass(frozen=True)
class PolicyCheck:
    """What the check found; it raises where `error` or `reference_error` is not 0."""

    points: int
    """points compared: replayed transitions, or noise levels"""
    error: float
    """largest difference of rollout and update"""
    reference_error: float | None
    """largest |v - v_ref|; None: the adapter has moved already"""
    with_gradient: int
    """adapter tensors that received a gradient"""
    parameters: int
    """adapter tensors in all"""


def check_policy(policy: Policy, objective: Objective, groups: Sequence[Group]) -> PolicyCheck:
    """Sample the first micro-batch of a bundle (`groups`) and let the objective compare.

    Raises PolicyMismatch when anything differs by a bit, and NotFinite when what is sampled is not.

    As long as the adapter has not moved (it is fresh, or what the run began from and the reference) the reference
    policy must be the policy. With a fresh one (every B matrix 0) exactly the B matrices must receive a gradient: an A
    matrix gets its first one after B has moved.
    """
    parameters = policy.model.adapter_parameters()
    fresh = not any(bool(parameter.any()) for name, parameter in parameters.items() if "lora_B" in name)
    errors, reference_errors = [], []
    for point in objective.check(policy, _first_slice(policy, objective, groups)):
        errors.append(point.error.max())
        reference_errors.append((point.velocity.detach() - point.reference).abs().max())
        (point.value.sum() * policy.gradient_scale).backward()
    if not errors:
        raise PolicyMismatch("on-policy check: the objective compares nothing. Let its `check` yield a comparison.")
    error, reference_error = (float(torch.stack(each).max()) for each in (errors, reference_errors))
    gradients = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
    reached = {name for name, gradient in gradients.items() if gradient.any() and gradient.isfinite().all()}
    for parameter in parameters.values():
        parameter.grad = None
    expected = {name for name in parameters if "lora_B" in name or not fresh}
    expected -= {name for name in expected if any(f"{layer}." in name for layer in policy.model.idle_layers)}
    if error != 0:
        raise PolicyMismatch(
            f"on-policy check: rollout and replay differ, {objective.compares} is up to {error:.2e}. {WAY_OUT}"
        )
    unmoved = not policy.has_moved()
    if unmoved and reference_error != 0:
        what = "a fresh adapter changes the velocity" if fresh else "policy and reference have one adapter and differ"
        raise PolicyMismatch(f"on-policy check: {what} by up to {reference_error:.2e}. {WAY_OUT}")
    if unreached := expected - reached:
        raise PolicyMismatch(
            f"on-policy check: no finite gradient reaches {len(unreached)} tensors, such as {min(unreached)}. {WAY_OUT}"
        )
    return PolicyCheck(len(errors), error, reference_error if unmoved else None, len(reached), len(parameters))


def _first_slice(policy: Policy, objective: Objective, groups: Sequence[Group]) -> Bundle:
    """A bundle's first micro-batch as its rollout makes it, all pictures scored alike."""
    with torch.no_grad(), policy.model.adapter_frozen():
        conditions = policy.encode([group.prompt.text for group in groups])
        trajectory, latents = next(sample_bundle(policy, objective, groups, conditions))
    if not latents.isfinite().all():
        raise policy.model.not_finite(f"before the first update, a picture for '{groups[0].prompt.text}'")
    rewards = torch.zeros(groups[-1].index + 1, groups[0].size, dtype=torch.float64)
    return to_bundles(objective, groups, [trajectory], rewards)[0]
