"""Benchmark suites and the runner that evaluates a model on one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.benchmarks.suite import Suite
from flowbench.benchmarks.suites.catalog import find, register, registry
from flowbench.lazy import lazy_exports

_LAZY = {
    "Execution": "flowbench.benchmarks.execution",
    "ExistingSource": "flowbench.benchmarks.sources",
    "evaluate": "flowbench.benchmarks.runner",
}
__all__ = ["Execution", "ExistingSource", "Suite", "evaluate", "find", "register", "registry"]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.benchmarks.execution import Execution
    from flowbench.benchmarks.runner import evaluate
    from flowbench.benchmarks.sources import ExistingSource
