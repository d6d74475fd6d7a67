"""Pure tensor math of sampling: sigma schedules and the steps from one noise level to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "KINDS": "flowbench.sampling.steps",
    "MovingWindow": "flowbench.sampling.schedule",
    "Step": "flowbench.sampling.steps",
    "flow_match": "flowbench.sampling.schedule",
    "gaussian_log_prob": "flowbench.sampling.steps",
    "per_sample_mean": "flowbench.sampling.steps",
    "shifted": "flowbench.sampling.schedule",
    "std_without_dt": "flowbench.sampling.steps",
    "step": "flowbench.sampling.steps",
    "step_std": "flowbench.sampling.steps",
    "stochastic_steps": "flowbench.sampling.schedule",
}
__all__ = [
    "KINDS",
    "MovingWindow",
    "Step",
    "flow_match",
    "gaussian_log_prob",
    "per_sample_mean",
    "shifted",
    "std_without_dt",
    "step",
    "step_std",
    "stochastic_steps",
]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.sampling.schedule import MovingWindow, flow_match, shifted, stochastic_steps
    from flowbench.sampling.steps import (
        KINDS,
        Step,
        gaussian_log_prob,
        per_sample_mean,
        std_without_dt,
        step,
        step_std,
    )
