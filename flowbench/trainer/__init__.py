"""Flow-GRPO: sample groups of pictures, score them, learn from how each differs from its group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "check_policy": "flowbench.trainer.policy_check",
    "group_advantages": "flowbench.trainer.advantages",
    "train": "flowbench.trainer.training",
}
__all__ = ["check_policy", "group_advantages", "train"]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.trainer.advantages import group_advantages
    from flowbench.trainer.policy_check import check_policy
    from flowbench.trainer.training import train
