"""Flow-GRPO: sample groups of pictures, score them, learn from how each differs from its group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_LAZY = {
    "check_policy": "flowbench.trainer.doctor",
    "group_advantages": "flowbench.trainer.advantages",
    "train": "flowbench.trainer.training",
}
__all__ = ["check_policy", "group_advantages", "train"]

if TYPE_CHECKING:
    from flowbench.trainer.advantages import group_advantages
    from flowbench.trainer.doctor import check_policy
    from flowbench.trainer.training import train


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'flowbench.trainer' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
