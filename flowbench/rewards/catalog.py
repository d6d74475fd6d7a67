"""The table of rewards: the built-in ones by lazy name, plugins by decorator or entry point."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flowbench import store
from flowbench.registry import Registry
from flowbench.rewards.card import Card

registry = Registry("reward", "flowbench.rewards")

registry.add("aesthetic", "flowbench.rewards.aesthetic:aesthetic")
registry.add("clip_score-vit-b-32", "flowbench.rewards.clip_score:clip_score_vit_b_32")
registry.add("clip_score-vit-l-14", "flowbench.rewards.clip_score:clip_score_vit_l_14")
registry.add("geneval", "flowbench.rewards.geneval.reward:geneval")
registry.add("geneval_flowgrpo", "flowbench.rewards.geneval.reward:geneval_flowgrpo")
registry.add("geneval_official", "flowbench.rewards.geneval.reward:geneval_official")
registry.add("geneval_strict", "flowbench.rewards.geneval.reward:geneval_strict")
registry.add("hpsv2", "flowbench.rewards.hpsv2:hpsv2")
registry.add("hpsv2.1", "flowbench.rewards.hpsv2:hpsv2_1")
registry.add("imagereward", "flowbench.rewards.imagereward:imagereward")
registry.add("jpeg", "flowbench.rewards.jpeg:jpeg")
registry.add("ocr", "flowbench.rewards.ocr.reward:ocr")
registry.add("pickscore", "flowbench.rewards.pickscore:pickscore")


def register(name: str, *, card: Card | None = None) -> Callable[[Any], Any]:
    """Decorate a reward factory. Raises NameTaken when another factory holds `name`."""
    return registry.register(name, card=card)


def needed_weights(name: str, options: Mapping[str, Any], vocabulary: str | None) -> tuple[str, ...]:
    """The assets that the reward will load: its card's, or what its factory's own `needs(options, vocabulary)` says."""
    needs = getattr(registry.get(name), "needs", None)
    if needs is not None:
        return tuple(needs(options, vocabulary))
    card = registry.card(name)
    return card.needs if card is not None else ()


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
