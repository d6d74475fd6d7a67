"""What can be asked of the built-in world: kinds, colours, and every prompt in GenEval's six tags and metadata format.

Counting, colors, position and color_attr have enough prompts to be split into train, dev and test sets that share
none, in any wording. single_object and two_object do not: all splits hold the same prompts, which are then tested on
unseen seeds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from itertools import permutations, product
from typing import Any

from flowbench.errors import ConfigError
from flowbench.types import Prompt
from flowbench.vocabularies import MIRRORED, NUMBERS, RELATIONS, TAGS, plural, with_article

KINDS = ("circle", "square", "triangle", "star", "cross", "heart", "diamond", "ring")
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 30),
    "orange": (255, 150, 20),
    "yellow": (250, 235, 40),
    "green": (30, 160, 50),
    "blue": (30, 70, 225),
    "purple": (130, 40, 170),
    "pink": (255, 150, 200),
    "brown": (110, 60, 25),
    "black": (15, 15, 15),
    "white": (250, 250, 250),
}
SPLITS = ("train", "dev", "test")
SHARED_TAGS = ("single_object", "two_object")
"""Tags whose prompts stand in every split: tested on unseen seeds only."""

HELD_OUT = {"counting": (40, 24), "colors": (30, 15), "position": (40, 24), "color_attr": (40, 40)}
"""Prompts of each tag that go to (test, dev); the rest is for training."""


@cache
def prompts(split: str) -> tuple[Prompt, ...]:
    """All prompts of one split, grouped by tag in the order of TAGS. Raises ConfigError for an unknown split."""
    if split not in SPLITS:
        raise ConfigError(f"prompt set 'shapes' has no split '{split}'. Choose one of {', '.join(SPLITS)}.")
    by_tag: dict[str, list[Prompt]] = {tag: [] for tag in TAGS}
    for metadata in _every():
        tag, text = metadata["tag"], metadata["prompt"]
        name = text.removeprefix("a photo of ").replace(" ", "-")
        by_tag[tag].append(Prompt(id=f"{tag}-{name}", text=text, tag=tag, metadata=metadata))
    return tuple(prompt for tag, all_prompts in by_tag.items() for prompt in _split(tag, all_prompts)[split])


def _split(tag: str, all_prompts: list[Prompt]) -> dict[str, list[Prompt]]:
    if tag in SHARED_TAGS:
        return dict.fromkeys(SPLITS, all_prompts)
    num_test, num_dev = HELD_OUT[tag]
    # A hash is a fixed shuffle that no change of the generator's order can disturb; hashing the content keeps the two
    # wordings of one picture together. Both sizes are even where there are two, so no cut falls between them.
    shuffled = sorted(all_prompts, key=lambda prompt: hashlib.sha256(content(prompt).encode()).hexdigest())
    return {
        "test": shuffled[:num_test],
        "dev": shuffled[num_test : num_test + num_dev],
        "train": shuffled[num_test + num_dev :],
    }


def _every() -> Iterator[dict[str, Any]]:
    """The metadata of all that can be asked for, tag by tag."""
    pairs = list(permutations(KINDS, 2))
    for kind in KINDS:
        yield _metadata("single_object", with_article(kind), [_clause(kind)])
    for a, b in pairs:
        yield _metadata("two_object", f"{with_article(a)} and {with_article(b)}", [_clause(a), _clause(b)])
    for (count, word), color, kind in product(NUMBERS.items(), (None, *COLORS), KINDS):
        include = [_clause(kind, count, **({"color": color} if color else {}))]
        text = f"{word} {color + ' ' if color else ''}{plural(kind)}"
        yield _metadata("counting", text, include, exclude=[_clause(kind, count + 1)])
    for color, kind in product(COLORS, KINDS):
        yield _metadata("colors", with_article(f"{color} {kind}"), [_clause(kind, color=color)])
    for (a, b), relation in product(pairs, RELATIONS):
        include = [_clause(b), _clause(a, position=[relation, 0])]
        yield _metadata("position", f"{with_article(a)} {relation} {with_article(b)}", include)
    for (a, b), (color_a, color_b) in product(pairs, permutations(COLORS, 2)):
        text = f"{with_article(f'{color_a} {a}')} and {with_article(f'{color_b} {b}')}"
        yield _metadata("color_attr", text, [_clause(a, color=color_a), _clause(b, color=color_b)])


def _metadata(tag: str, text: str, include: list[dict[str, Any]], **more: list[dict[str, Any]]) -> dict[str, Any]:
    return {"tag": tag, "include": include, **more, "prompt": f"a photo of {text}"}


def _clause(kind: str, count: int = 1, **more: Any) -> dict[str, Any]:
    return {"class": kind, "count": count, **more}


def slots(prompt: Prompt) -> dict[str, str]:
    """The prompt taken apart: first and second kind and colour in reading order, count, relation ('' = absent)."""
    include = prompt.metadata["include"]
    relation = ""
    if prompt.tag == "position":
        include = include[::-1]  # the metadata names the reference object first, the text names it last
        relation = include[0]["position"][0]
    found = {"count": str(include[0]["count"]), "relation": relation}
    for order, clause in zip(("first", "second"), (*include, {}), strict=False):
        found[f"{order}_kind"] = clause.get("class", "")
        found[f"{order}_color"] = clause.get("color", "")
    return found


def content(prompt: Prompt) -> str:
    """What the picture must show, whichever object is named first: "a left of b" and "b right of a" are one."""
    found = slots(prompt)
    first, second = (f"{found[f'{order}_color']} {found[f'{order}_kind']}".strip() for order in ("first", "second"))
    relation = found["relation"]
    if relation in MIRRORED:
        return f"{second} {MIRRORED[relation]} {first}"
    if relation:
        return f"{first} {relation} {second}"
    return f"{found['count']} " + " and ".join(sorted((first, second)))
