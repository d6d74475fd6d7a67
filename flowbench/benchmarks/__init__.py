"""Benchmark suites and the runner that evaluates a model on one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowbench.benchmarks.suite import Suite, find, register, suites

__all__ = ["Execution", "GivenMaker", "Suite", "evaluate", "find", "register", "suites"]
_LAZY = {
    "Execution": "flowbench.benchmarks.execution",
    "GivenMaker": "flowbench.benchmarks.makers",
    "evaluate": "flowbench.benchmarks.runner",
}

if TYPE_CHECKING:
    from flowbench.benchmarks.execution import Execution
    from flowbench.benchmarks.makers import GivenMaker
    from flowbench.benchmarks.runner import evaluate


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'flowbench.benchmarks' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
