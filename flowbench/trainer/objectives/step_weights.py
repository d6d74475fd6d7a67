"""How much the loss of each trained step counts, beside the others of its trajectory."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from flowbench.sampling.steps import step_std

Interval = tuple[float, float]
"""sigma and sigma_next of a step"""


def step_weight(form: str, step: Interval, trained: Sequence[Interval], *, kind: str, noise_level: float) -> float:
    """`none`: 1; `inverse_dt` and `std`: as the functions below. trained: every step that may be trained."""
    if form == "inverse_dt":
        return inverse_dt(*step)
    return relative_std(step, trained, kind=kind, noise_level=noise_level) if form == "std" else 1.0


def inverse_dt(sigma: float, sigma_next: float) -> float:
    """1 / -dt: GRPO-Guard's gradient balance (arXiv 2510.22319), without normalisation, as published.

    The gradient of the guarded log-ratio, mean(z (mean - mean_old)), to the velocity is z times the mean's coefficient
    of it, which on "flow" and "dance" steps is dt (1 + ...): long, noisy steps would drown the others.
    """
    return 1 / (sigma - sigma_next)


def relative_std(step: Interval, trained: Sequence[Interval], *, kind: str, noise_level: float) -> float:
    """The step's std over the mean std of all trained steps: TempFlow-GRPO's noise-aware weight (arXiv 2508.04324).

    trained: every step that the rollout may draw noise in; their weights have mean 1. A step counts as much as its
    noise can explore. kind, noise_level: as `sampling.step` takes them; std > 0 somewhere.
    """
    pairs = torch.tensor([step, *trained], dtype=torch.float64)
    own, *stds = step_std(kind, pairs[:, 0], pairs[:, 1], noise_level).tolist()
    return float(own * len(stds) / sum(stds))
