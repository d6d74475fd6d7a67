"""Metrics: numbers that describe what a model makes, beside its rewards: diversity, picture statistics, FID and kin.

A metric is a factory whose keyword parameters are its options, registered with a level; it returns a function:
level "picture": list[Sample] -> list[Score];  "prompt": the samples of one prompt -> Score;  "set": samples and
reference pictures -> Score, or samples -> Score of a metric that is registered with compares=False.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "Measured": "flowbench.metrics.base",
    "Metric": "flowbench.metrics.base",
    "build": "flowbench.metrics.base",
    "check": "flowbench.metrics.base",
    "register": "flowbench.metrics.catalog",
    "registry": "flowbench.metrics.catalog",
}
__all__ = ["Measured", "Metric", "build", "check", "register", "registry"]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.metrics.base import Measured, Metric, build, check
    from flowbench.metrics.catalog import register, registry
