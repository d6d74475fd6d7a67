"""Sigma schedules (noise levels in [0, 1]; sampling goes from 1 to 0), and which of their steps are stochastic."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

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


class MovingWindow(NamedTuple):
    """A window that moves over the denoising steps while training goes on: MixGRPO (arXiv 2507.21802, section 3).

    Its first step is 0, then `stride` more after every `every` training steps, and at last the last one that leaves the
    window within its range. There it stays, or (`restarts`) begins at 0 again: the published code has both.

    `decay_from` (published: 13, of 25 steps) makes it the exponential-decay schedule, which lingers on the early, noisy
    steps: first step l is held for ceil(every * exp(-0.1 * max(0, l - decay_from))) training steps.
    """

    every: int = 25
    stride: int = 1
    decay_from: int | None = None
    restarts: bool = False

    def start(self, step: int, last: int) -> int:
        """The window's first step at training step `step` (from 0), in 0 .. `last`: a function of nothing else."""
        places = [*range(0, last, self.stride), last]
        ends = numpy.cumsum([self._held(place) for place in places])
        if self.restarts:
            step %= int(ends[-1])
        return places[min(int(numpy.searchsorted(ends, step, side="right")), len(places) - 1)]

    def _held(self, place: int) -> int:
        """Number of training steps for which the window begins there."""
        if self.decay_from is None:
            return self.every
        return math.ceil(self.every * math.exp(-0.1 * max(0, place - self.decay_from)))


def stochastic_steps(
    steps: int,
    window: int | None,
    first: int | None = None,
    *,
    seed: int,
    step: int,
    group: int,
    moving: MovingWindow | None = None,
) -> tuple[int, ...]:
    """Indices of the steps that draw noise and are trained on, ascending; all other steps are ODE steps.

    `window` None: all but the last (which ends at sigma 0 and is never trained). Otherwise `window` consecutive steps,
    placed uniformly at random within the first `first` steps (None: half of `steps`, rounded down), or where `moving`
    has got to, a function of the training step alone.

    The random place is a function of (run seed, training step, group), so every member of a group has the same window:
    drawn per sample, windows inflate the reward spread about fourfold and collapse the training.
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
    if moving is not None:
        start = moving.start(step, first - window)
    else:
        generator = numpy.random.default_rng([seed, _WINDOW, step, group])
        start = int(generator.integers(first - window + 1))
    return tuple(range(start, start + window))
