"""Golden checks: pictures whose right answer is known, so that a scorer that is silently wrong is found out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Finding", "check"]

if TYPE_CHECKING:
    from flowbench.rewards.golden.checks import Finding, check


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'flowbench.rewards.golden' has no attribute '{name}'")
    from flowbench.rewards.golden import checks

    return getattr(checks, name)


def __dir__() -> list[str]:
    return __all__
