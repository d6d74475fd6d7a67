"""Sigma schedules (noise levels in [0, 1]; sampling goes from 1 to 0), and which of their steps are stochastic."""

from __future__ import annotations

from typing import TypeVar

import numpy
import torch

from flowbench.errors import ConfigError

_Sigmas = TypeVar("_Sigmas", float, numpy.ndarray, torch.Tensor)
_WINDOW = int.from_bytes(b"window", "big")  # the purpose of the draw, so that no other draw shares its stream


def shifted(sigmas: _Sigmas, shift: float) -> _Sigmas:
    """Move sigmas towards the noisy end: shift * sigma / (1 + (shift - 1) * sigma). Shift 1 leaves them as they are.

    Source: the timestep shift of SD3 (arXiv 2403.03206).
    """
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def flow_match(steps: int, *, shift: float = 3.0, num_train_timesteps: int = 1000) -> torch.Tensor:
    """The sigmas of diffusers' FlowMatchEulerDiscreteScheduler without dynamic shifting: (steps + 1,) float32.

    They equal `FlowMatchEulerDiscreteScheduler(num_train_timesteps, shift).set_timesteps(steps)` to the bit. One of its
    quirks is kept, since the images must be the same: the smallest sigma comes from the training table, which is
    shifted already, and is then shifted once more with the others.
    """
    if not isinstance(steps, int) or steps < 1:
        raise ConfigError(f"a schedule of {steps} steps: give a whole number of at least 1.")
    if not 0 < shift < float("inf"):
        raise ConfigError(f"a schedule with shift {shift}: give a finite number above 0.")
    smallest = shifted(torch.ones(()) / num_train_timesteps, shift).item()  # float32, like the training table
    timesteps = numpy.linspace(num_train_timesteps, smallest * num_train_timesteps, steps)
    sigmas = shifted(timesteps / num_train_timesteps, shift)
    return torch.from_numpy(numpy.append(sigmas, 0.0).astype(numpy.float32))


def stochastic_steps(
    steps: int, window: int | None, first: int | None = None, *, seed: int, step: int, group: int
) -> tuple[int, ...]:
    """Indices of the steps that draw noise and are trained on, ascending; all other steps are ODE steps.

    `window` None: all but the last (which ends at sigma 0 and is never trained). Otherwise `window` consecutive steps,
    placed uniformly at random within the first `first` steps (None: half of `steps`, rounded down).

    The place is a function of (run seed, training step, group), so every member of a group has the same window: drawn
    per sample, windows inflate the reward spread about fourfold and collapse the training.
    Raises ConfigError when the window does not fit, or could reach the last step.
    """
    if window is None:
        return tuple(range(steps - 1))
    if first is None:
        first = steps // 2
    if not 1 <= window <= first <= steps - 1:
        raise ConfigError(
            f"a window of {window} stochastic steps within the first {first} of {steps} does not fit: "
            f"it needs 1 <= window <= first <= {steps - 1} (the last step is never trained)."
        )
    generator = numpy.random.default_rng([seed, _WINDOW, step, group])
    start = int(generator.integers(first - window + 1))
    return tuple(range(start, start + window))
