"""How good, how sure, and is it better: statistics of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_LAZY = {
    "Interval": "flowbench.evals.intervals",
    "Paired": "flowbench.evals.compare",
    "Results": "flowbench.evals.results",
    "build_leaderboard": "flowbench.evals.leaderboard",
    "compare_all": "flowbench.evals.results",
    "compare_results": "flowbench.evals.results",
    "find_results": "flowbench.evals.results",
    "interval": "flowbench.evals.intervals",
    "load_results": "flowbench.evals.results",
    "paired_test": "flowbench.evals.compare",
    "training_report": "flowbench.evals.report.training",
}
__all__ = [
    "Interval",
    "Paired",
    "Results",
    "build_leaderboard",
    "compare_all",
    "compare_results",
    "find_results",
    "interval",
    "load_results",
    "paired_test",
    "training_report",
]

if TYPE_CHECKING:
    from flowbench.evals.compare import Paired, paired_test
    from flowbench.evals.intervals import Interval, interval
    from flowbench.evals.leaderboard import build_leaderboard
    from flowbench.evals.report.training import training_report
    from flowbench.evals.results import Results, compare_all, compare_results, find_results, load_results


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'flowbench.evals' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
