"""Rewards: written once; the trainer optimises them, the benchmark runner reports them.

A reward is a factory whose keyword parameters are its options; it returns a function `list[Sample] -> list[Score]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "Card": "flowbench.rewards.card",
    "Part": "flowbench.rewards.card",
    "Reward": "flowbench.rewards.base",
    "accept_licence": "flowbench.rewards.licences",
    "build": "flowbench.rewards.combine",
    "check": "flowbench.rewards.combine",
    "describe": "flowbench.rewards.catalog",
    "needed_weights": "flowbench.rewards.catalog",
    "plugin_code": "flowbench.rewards.catalog",
    "register": "flowbench.rewards.catalog",
    "registry": "flowbench.rewards.catalog",
}
__all__ = [
    "Card",
    "Part",
    "Reward",
    "accept_licence",
    "build",
    "check",
    "describe",
    "needed_weights",
    "plugin_code",
    "register",
    "registry",
]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.rewards.base import Reward
    from flowbench.rewards.card import Card, Part
    from flowbench.rewards.catalog import describe, needed_weights, plugin_code, register, registry
    from flowbench.rewards.combine import build, check
    from flowbench.rewards.licences import accept_licence
