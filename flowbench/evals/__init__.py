"""How good, how sure, and is it better: statistics of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_LAZY = {
    "Interval": "flowbench.evals.intervals",
    "Paired": "flowbench.evals.compare",
    "Results": "flowbench.evals.results",
    "WinRate": "flowbench.evals.compare",
    "build_leaderboard": "flowbench.evals.leaderboard",
    "compare_evaluations": "flowbench.evals.comparison",
    "compare_results": "flowbench.evals.comparison",
    "find_leaderboards": "flowbench.evals.leaderboard",
    "draws_for": "flowbench.evals.compare",
    "find_results": "flowbench.evals.results",
    "holm": "flowbench.evals.compare",
    "interval": "flowbench.evals.intervals",
    "interval_table": "flowbench.evals.intervals",
    "load_results": "flowbench.evals.results",
    "paired_table": "flowbench.evals.compare",
    "paired_test": "flowbench.evals.compare",
    "rank_ranges": "flowbench.evals.ranks",
    "standard_error": "flowbench.evals.analytic",
    "training_report": "flowbench.evals.report.training",
    "win_rate": "flowbench.evals.compare",
}
__all__ = [
    "Interval",
    "Paired",
    "Results",
    "WinRate",
    "build_leaderboard",
    "compare_evaluations",
    "compare_results",
    "draws_for",
    "find_leaderboards",
    "find_results",
    "holm",
    "interval",
    "interval_table",
    "load_results",
    "paired_table",
    "paired_test",
    "rank_ranges",
    "standard_error",
    "training_report",
    "win_rate",
]

if TYPE_CHECKING:
    from flowbench.evals.analytic import standard_error
    from flowbench.evals.compare import Paired, WinRate, draws_for, holm, paired_table, paired_test, win_rate
    from flowbench.evals.comparison import compare_evaluations, compare_results
    from flowbench.evals.intervals import Interval, interval, interval_table
    from flowbench.evals.leaderboard import build_leaderboard, find_leaderboards
    from flowbench.evals.ranks import rank_ranges
    from flowbench.evals.report.training import training_report
    from flowbench.evals.results import Results, find_results, load_results


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'flowbench.evals' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
