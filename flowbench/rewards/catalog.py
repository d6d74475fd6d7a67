"""The table of rewards: the built-in ones by lazy name, plugins by decorator or entry point."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from flowbench import store
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


def plugin_code(spec: str | Iterable[str]) -> dict[str, str]:
    """Reward -> twelve hex digits of the SHA-256 of the file that defines it, for those of plugins.

    A rewritten reward is another reward: its old scores are not compared with new ones, its old runs do not go on.
    Ours are left out: theirs change with the version of the package and of the suites.
    """
    files = {}
    for name in [spec] if isinstance(spec, str) else spec:
        module = inspect.getmodule(inspect.unwrap(registry.get(name)))
        if module is not None and not module.__name__.startswith("flowbench."):
            files[name] = getattr(module, "__file__", None)  # in a notebook there is none
    return {name: store.file_digest(path)[:12] for name, path in files.items() if path}
