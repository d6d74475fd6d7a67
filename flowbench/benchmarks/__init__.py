"""Benchmark suites and the runner that evaluates a model on one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowbench.benchmarks.suite import Suite, find, register, suites

__all__ = ["Suite", "evaluate", "find", "register", "suites"]

if TYPE_CHECKING:
    from flowbench.benchmarks.runner import evaluate


def __getattr__(name: str) -> Any:
    if name != "evaluate":
        raise AttributeError(f"module 'flowbench.benchmarks' has no attribute '{name}'")
    from flowbench.benchmarks.runner import evaluate

    return evaluate


def __dir__() -> list[str]:
    return __all__
