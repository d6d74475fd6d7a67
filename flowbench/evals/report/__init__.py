"""Reports: one HTML file each, with nothing to load from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["training_report"]

if TYPE_CHECKING:
    from flowbench.evals.report.training import training_report


def __getattr__(name: str) -> Any:
    if name != "training_report":
        raise AttributeError(f"module 'flowbench.evals.report' has no attribute '{name}'")
    from flowbench.evals.report.training import training_report

    return training_report


def __dir__() -> list[str]:
    return __all__
