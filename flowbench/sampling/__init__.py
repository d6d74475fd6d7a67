"""Pure tensor math of sampling: sigma schedules and the steps from one noise level to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "KINDS": "flowbench.sampling.steps",
    "Step": "flowbench.sampling.steps",
    "flow_match": "flowbench.sampling.schedule",
    "per_sample_mean": "flowbench.sampling.steps",
    "shifted": "flowbench.sampling.schedule",
    "std_without_dt": "flowbench.sampling.steps",
    "step": "flowbench.sampling.steps",
    "stochastic_steps": "flowbench.sampling.schedule",
}
__all__ = [
    "KINDS",
    "Step",
    "flow_match",
    "per_sample_mean",
    "shifted",
    "std_without_dt",
    "step",
    "stochastic_steps",
]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.sampling.schedule import flow_match, shifted, stochastic_steps
    from flowbench.sampling.steps import KINDS, Step, per_sample_mean, std_without_dt, step
