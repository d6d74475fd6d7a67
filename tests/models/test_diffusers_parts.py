"""Schedules of diffusers' schedulers: from 1 down to 0, or refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from flowbench.bounds import DENOISING_STEPS
from flowbench.errors import ConfigError, ModelError
from flowbench.models.diffusers_parts import frozen, sigmas_of
from flowbench.tensors import ALIGNED


@pytest.mark.parametrize(
    "config",
    [{}, {"shift": 3.0}, {"shift_terminal": 0.1}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True},
     {"use_dynamic_shifting": True, "shift_terminal": 0.02}],
)  # fmt: skip
def test_sigmas_fall_from_one_to_zero(config: dict[str, Any]) -> None:
    """One step among them, where a scheduler with a terminal sigma divides 0 by 0."""
    scheduler = FlowMatchEulerDiscreteScheduler(**config)
    options = {"mu": 0.7} if config.get("use_dynamic_shifting") else {}
    assert sigmas_of(scheduler, 1, **options).tolist() == [1, 0]
    for steps in (2, 10, 1000):
        sigmas = sigmas_of(scheduler, steps, **options)
        assert (len(sigmas), sigmas[0], sigmas[-1], sigmas.dtype) == (steps + 1, 1, 0, torch.float32)
        assert (sigmas.diff() < 0).all()
        scheduler.set_timesteps(steps, **options)
        assert torch.equal(sigmas, scheduler.sigmas)


@pytest.mark.parametrize(
    "config", [{"shift": 0.0}, {"shift": float("nan")}, {"invert_sigmas": True}, {"num_train_timesteps": 1}]
)
def test_other_schedules_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"gives 5 sigmas .* for 4 steps, where 5 are needed that fall from 1 to 0"):
        sigmas_of(FlowMatchEulerDiscreteScheduler(**config), 4)


@pytest.mark.parametrize("steps", [0, -1, 2.0, float("nan"), float("inf"), DENOISING_STEPS + 1])
def test_steps_are_a_whole_number_within_bounds(steps: Any) -> None:
    with pytest.raises(ConfigError, match=f"steps: {steps} cannot be"):
        sigmas_of(FlowMatchEulerDiscreteScheduler(), steps)


def test_where_weights_lie_in_a_file_changes_no_bit() -> None:
    """Mapped ones start anywhere, those that a process beside others reads do not: a row must come out the same."""
    torch.manual_seed(0)
    layer, row = torch.nn.Linear(96, 96), torch.randn(1, 96)
    expected = frozen(layer, torch.device("cpu"))(row)
    for shift in (1, 2, 5, 14):
        mapped = torch.nn.Linear(96, 96)
        for parameter, held in zip(mapped.parameters(), layer.parameters(), strict=True):
            room = torch.zeros(held.numel() + shift)
            parameter.data = room[shift:].view(held.shape).copy_(held.data)
        assert mapped.weight.data_ptr() % ALIGNED
        found = frozen(mapped, torch.device("cpu"))
        assert torch.equal(found(row), expected)
        assert not any(parameter.data_ptr() % ALIGNED or parameter.requires_grad for parameter in found.parameters())
