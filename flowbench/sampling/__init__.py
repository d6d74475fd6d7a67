"""Pure tensor math of sampling: sigma schedules, and steps and solvers from one noise level to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "KINDS": "flowbench.sampling.steps",
    "SOLVERS": "flowbench.solver_names",
    "History": "flowbench.sampling.solvers",
    "Solved": "flowbench.sampling.solvers",
    "Step": "flowbench.sampling.steps",
    "flow_match": "flowbench.sampling.schedule",
    "model_calls": "flowbench.solver_names",
    "per_sample_mean": "flowbench.sampling.steps",
    "shifted": "flowbench.sampling.schedule",
    "solve": "flowbench.sampling.solvers",
    "std_without_dt": "flowbench.sampling.steps",
    "step": "flowbench.sampling.steps",
    "stochastic_steps": "flowbench.sampling.schedule",
}
__all__ = [  # noqa: RUF022 - as Python sorts
    "History",
    "KINDS",
    "SOLVERS",
    "Solved",
    "Step",
    "flow_match",
    "model_calls",
    "per_sample_mean",
    "shifted",
    "solve",
    "std_without_dt",
    "step",
    "stochastic_steps",
]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.sampling.schedule import flow_match, shifted, stochastic_steps
    from flowbench.sampling.solvers import History, Solved, solve
    from flowbench.sampling.steps import KINDS, Step, per_sample_mean, std_without_dt, step
    from flowbench.solver_names import SOLVERS, model_calls
