"""How good, how sure, and is it better: statistics of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_LAZY = {
    "Interval": "flowbench.evals.intervals",
    "Paired": "flowbench.evals.compare",
    "interval": "flowbench.evals.intervals",
    "paired_test": "flowbench.evals.compare",
}
__all__ = ["Interval", "Paired", "interval", "paired_test"]

if TYPE_CHECKING:
    from flowbench.evals.compare import Paired, paired_test
    from flowbench.evals.intervals import Interval, interval


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'flowbench.evals' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
