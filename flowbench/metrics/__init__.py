"""Metrics: numbers that describe what a model makes, beside its rewards: diversity, picture statistics, FID and kin.

A metric is a factory whose keyword parameters are its options, registered with a level; it returns a function:
level "picture": list[Sample] -> list[Score];  "prompt": the samples of one prompt -> Score;  "set": samples and
reference pictures -> Score.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_LAZY = {
    "Measured": "flowbench.metrics.base",
    "Metric": "flowbench.metrics.base",
    "build": "flowbench.metrics.base",
    "check": "flowbench.metrics.base",
    "register": "flowbench.metrics.catalog",
    "registry": "flowbench.metrics.catalog",
}
__all__ = ["Measured", "Metric", "build", "check", "register", "registry"]

if TYPE_CHECKING:
    from flowbench.metrics.base import Measured, Metric, build, check
    from flowbench.metrics.catalog import register, registry


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'flowbench.metrics' has no attribute '{name}'")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
