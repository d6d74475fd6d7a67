"""Golden checks: pictures whose right answer is known, so that a scorer that is silently wrong is found out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {"Finding": "flowbench.rewards.golden.finding", "check": "flowbench.rewards.golden.checks"}
__all__ = ["Finding", "check"]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.rewards.golden.checks import check
    from flowbench.rewards.golden.finding import Finding
