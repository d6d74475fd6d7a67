"""Finished evaluations: read, compared, ranked. The statistics of `flowbench.stats` are exported here as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "Interval": "flowbench.stats.intervals",
    "Paired": "flowbench.stats.paired",
    "Results": "flowbench.evals.results",
    "WinRate": "flowbench.stats.paired",
    "build_leaderboard": "flowbench.evals.leaderboard",
    "compare_evaluations": "flowbench.evals.versus",
    "compare_results": "flowbench.evals.versus",
    "draws_for": "flowbench.stats.paired",
    "find_leaderboards": "flowbench.evals.leaderboard",
    "find_results": "flowbench.evals.results",
    "holm": "flowbench.stats.paired",
    "interval": "flowbench.stats.intervals",
    "interval_table": "flowbench.stats.intervals",
    "load_results": "flowbench.evals.results",
    "paired_table": "flowbench.stats.paired",
    "paired_test": "flowbench.stats.paired",
    "rank_ranges": "flowbench.stats.ranks",
    "standard_error": "flowbench.stats.analytic",
    "win_rate": "flowbench.stats.paired",
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
    "win_rate",
]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.evals.leaderboard import build_leaderboard, find_leaderboards
    from flowbench.evals.results import Results, find_results, load_results
    from flowbench.evals.versus import compare_evaluations, compare_results
    from flowbench.stats.analytic import standard_error
    from flowbench.stats.intervals import Interval, interval, interval_table
    from flowbench.stats.paired import Paired, WinRate, draws_for, holm, paired_table, paired_test, win_rate
    from flowbench.stats.ranks import rank_ranges
