"""How good, how sure, and is it better: arrays in, named numbers out. Knows no file and no settings card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "Direction": "flowbench.stats.paired",
    "Interval": "flowbench.stats.intervals",
    "Method": "flowbench.stats.methods",
    "Paired": "flowbench.stats.paired",
    "WinRate": "flowbench.stats.paired",
    "draws_for": "flowbench.stats.paired",
    "holm": "flowbench.stats.paired",
    "interval": "flowbench.stats.intervals",
    "interval_table": "flowbench.stats.intervals",
    "paired_table": "flowbench.stats.paired",
    "paired_test": "flowbench.stats.paired",
    "rank_ranges": "flowbench.stats.ranks",
    "standard_error": "flowbench.stats.analytic",
    "win_rate": "flowbench.stats.paired",
}
__all__ = [
    "Direction",
    "Interval",
    "Method",
    "Paired",
    "WinRate",
    "draws_for",
    "holm",
    "interval",
    "interval_table",
    "paired_table",
    "paired_test",
    "rank_ranges",
    "standard_error",
    "win_rate",
]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.stats.analytic import standard_error
    from flowbench.stats.intervals import Interval, interval, interval_table
    from flowbench.stats.methods import Method
    from flowbench.stats.paired import Direction, Paired, WinRate, draws_for, holm, paired_table, paired_test, win_rate
    from flowbench.stats.ranks import rank_ranges
