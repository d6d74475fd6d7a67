"""Pure tensor math of sampling: sigma schedules, and steps and solvers from one noise level to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "KINDS": "flowbench.sampling.steps",
    "MovingWindow": "flowbench.sampling.schedule",
    "SOLVERS": "flowbench.solver_names",
    "History": "flowbench.sampling.solvers",
    "Solved": "flowbench.sampling.solvers",
    "Step": "flowbench.sampling.steps",
    "flow_match": "flowbench.sampling.schedule",
    "gaussian_log_prob": "flowbench.sampling.steps",
    "model_calls": "flowbench.solver_names",
    "per_sample_mean": "flowbench.sampling.steps",
    "shifted": "flowbench.sampling.schedule",
    "solve": "flowbench.sampling.solvers",
    "std_without_dt": "flowbench.sampling.steps",
    "step": "flowbench.sampling.steps",
    "step_std": "flowbench.sampling.steps",
    "stochastic_steps": "flowbench.sampling.schedule",
}
__all__ = [  # noqa: RUF022 - as Python sorts
    "History",
    "KINDS",
    "MovingWindow",
    "SOLVERS",
    "Solved",
    "Step",
    "flow_match",
    "gaussian_log_prob",
    "model_calls",
    "per_sample_mean",
    "shifted",
    "solve",
    "std_without_dt",
    "step",
    "step_std",
    "stochastic_steps",
]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.sampling.schedule import MovingWindow, flow_match, shifted, stochastic_steps
    from flowbench.sampling.solvers import History, Solved, solve
    from flowbench.sampling.steps import (
        KINDS,
        Step,
        gaussian_log_prob,
        per_sample_mean,
        std_without_dt,
        step,
        step_std,
    )
    from flowbench.solver_names import SOLVERS, model_calls
