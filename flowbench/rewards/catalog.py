"""The table of rewards: the built-in ones by lazy name, plugins by decorator or entry point."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flowbench import store
from flowbench.registry import Registry
from flowbench.rewards.card import Card

registry = Registry("reward", "flowbench.rewards", factories=True, cards=Card)
_NO_MATTER = ("batch_size", "device", "vocabulary", "workers")
"""Options that change no number, or no more than its last digits."""

# The lines are the first sentences of the cards, for `flowbench list`, which imports no reward that has one.
registry.add(
    "aesthetic", "flowbench.rewards.aesthetic:aesthetic",
    line="How beautiful people would find the picture, without looking at the prompt.",
)  # fmt: skip
registry.add(
    "clip_score-vit-b-32", "flowbench.rewards.clip_score:clip_score_vit_b_32",
    line="100 x the cosine of picture and prompt in CLIP's space, not below 0.",
)  # fmt: skip
registry.add(
    "clip_score-vit-l-14", "flowbench.rewards.clip_score:clip_score_vit_l_14",
    line="100 x the cosine of picture and prompt in CLIP's space, not below 0.",
)  # fmt: skip
registry.add(
    "geneval", "flowbench.rewards.geneval.reward:geneval",
    line="Share of the prompt's counts, colours and places that the picture shows.",
)  # fmt: skip
registry.add(
    "geneval_flowgrpo", "flowbench.rewards.geneval.reward:geneval_flowgrpo",
    line="The partial score of flow_grpo's reward server with the errors of its rule, to compare with published runs.",
)  # fmt: skip
registry.add(
    "geneval_official", "flowbench.rewards.geneval.reward:geneval_official",
    line="1 when the published GenEval rule accepts the picture (at least n objects), else 0.",
)  # fmt: skip
registry.add(
    "geneval_strict", "flowbench.rewards.geneval.reward:geneval_strict",
    line="1 when the picture shows exactly the objects asked for of each class, else 0.",
)  # fmt: skip
registry.add(
    "hpsv2", "flowbench.rewards.hpsv2:hpsv2",
    line="How people would rank the picture among others made for the prompt. Papers print it x 100.",
)  # fmt: skip
registry.add(
    "hpsv2.1", "flowbench.rewards.hpsv2:hpsv2_1",
    line="How people would rank the picture among others made for the prompt. Papers print it x 100.",
)  # fmt: skip
registry.add(
    "imagereward", "flowbench.rewards.imagereward:imagereward",
    line="How people would rank the picture among others made for the prompt.",
)  # fmt: skip
registry.add(
    "jpeg", "flowbench.rewards.jpeg:jpeg",
    line="The size as a JPEG of quality 95: negated (smaller is better), or as it is with `larger`.",
)  # fmt: skip
registry.add(
    "letters", "flowbench.rewards.ocr.reward:letters",
    line="How much of the prompt's quoted text a sign of the letters world says, by the exact reader: as `ocr`.",
)  # fmt: skip
registry.add(
    "ocr", "flowbench.rewards.ocr.reward:ocr",
    line="How much of the prompt's quoted text is read on the picture: 1 - edit distance / length, not below 0.",
)  # fmt: skip
registry.add(
    "pickscore", "flowbench.rewards.pickscore:pickscore",
    line="How users would rank the picture among others made for the prompt.",
)  # fmt: skip
registry.add(
    "taste", "flowbench.rewards.taste:taste",
    line="How much a picture of the built-in world is liked, by a network that has learned it from pairs.",
)  # fmt: skip
registry.add(
    "taste_rule", "flowbench.rewards.taste:taste_rule",
    line="The rule of taste that the labels of `taste` were drawn from: warm, and left of the middle.",
)  # fmt: skip


def register(name: str, *, card: Card | None = None) -> Callable[[Any], Any]:
    """Decorate a reward factory.

    Raises NameTaken when another factory holds `name`, ConfigError for what can be no name, card or factory.
    """
    return registry.register(name, card=card)


def needed_weights(name: str, options: Mapping[str, Any], vocabulary: str | None) -> tuple[str, ...]:
    """The assets that the reward will load: its card's, or what its factory's own `needs(options, vocabulary)` says."""
    needs = getattr(registry.get(name), "needs", None)
    if needs is not None:
        return tuple(needs(options, vocabulary))
    card = registry.card(name)
    return card.needs if card is not None else ()


def describe(
    name: str, options: Mapping[str, Any], *, vocabulary: str | None = None, table: Registry = registry
) -> dict[str, Any]:
    """What decides a scorer's numbers beside its weights: two scores are comparable when these agree.

    Its name, all of its options (the defaults filled in) but those that only say where and how fast it works, the
    version of its card; the vocabulary, the packages that carry its engine and a plugin's code, where it has them.
    `table` is the registry that knows it (metrics have their own).
    """
    factory, card = table.get(name), table.card(name)
    parameters = inspect.signature(factory).parameters
    defaults = {key: each.default for key, each in parameters.items() if each.default is not inspect.Parameter.empty}
    chosen = {key: value for key, value in {**defaults, **options}.items() if key not in _NO_MATTER}
    packages = getattr(factory, "packages", lambda options: ())(chosen)
    code = plugin_code(name, table) | getattr(factory, "code", lambda options, vocabulary: {})(chosen, vocabulary)
    return {
        "reward": name,
        "options": chosen,
        "version": card.version if card is not None else "1",
        **({"vocabulary": vocabulary or ""} if "vocabulary" in parameters else {}),
        **({"packages": {each: store.package_version(each) for each in packages}} if packages else {}),
        **({"code": code} if code else {}),
    }


def plugin_code(spec: str | Iterable[str], table: Registry = registry) -> dict[str, str]:
    """Reward -> twelve hex digits of the SHA-256 of the file that defines it, for those of plugins.

    A rewritten reward is another reward: its old scores are not compared with new ones, its old runs do not go on.
    Ours are left out: theirs change with the version of the package and of the suites.
    """
    files = {}
    for name in [spec] if isinstance(spec, str) else spec:
        module = inspect.getmodule(inspect.unwrap(table.get(name)))
        if module is not None and not module.__name__.startswith("flowbench."):
            files[name] = getattr(module, "__file__", None)  # in a notebook there is none
    return {name: store.file_digest(path)[:12] for name, path in files.items() if path}
