"""The table of rewards: the built-in ones by lazy name, plugins by decorator or entry point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowbench.registry import Registry
from flowbench.rewards.card import Card

registry = Registry("reward", "flowbench.rewards")

registry.add("geneval", "flowbench.rewards.geneval.reward:geneval")
registry.add("geneval_flowgrpo", "flowbench.rewards.geneval.reward:geneval_flowgrpo")
registry.add("geneval_official", "flowbench.rewards.geneval.reward:geneval_official")
registry.add("geneval_strict", "flowbench.rewards.geneval.reward:geneval_strict")
registry.add("jpeg", "flowbench.rewards.jpeg:jpeg")


def register(name: str, *, card: Card | None = None) -> Callable[[Any], Any]:
    """Decorate a reward factory. Raises NameTaken when another factory holds `name`."""
    return registry.register(name, card=card)
