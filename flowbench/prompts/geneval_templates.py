"""GenEval's six templates: what is asked -> metadata in GenEval's format, and every prompt that they can make.

Source: the prompt generator of djghosh13/geneval (MIT), by its description; its texts are built here anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flowbench.prompts.leakage import content
from flowbench.types import Prompt
from flowbench.vocabularies import COLORS, NUMBERS, RELATIONS, plural, with_article

COLOURLESS = "person"
"""The one class that is never asked for in a colour."""

Metadata = dict[str, Any]


def single_object(one: str) -> Metadata:
    return _metadata("single_object", with_article(one), [_clause(one)])


def two_object(one: str, other: str) -> Metadata:
    return _metadata("two_object", f"{with_article(one)} and {with_article(other)}", [_clause(one), _clause(other)])


def counting(one: str, count: int) -> Metadata:
    entry = _metadata("counting", f"{NUMBERS[count]} {plural(one)}", [_clause(one, count)])
    return {"tag": entry["tag"], "include": entry["include"], "exclude": [_clause(one, count + 1)], **entry}


def colors(one: str, color: str) -> Metadata:
    return _metadata("colors", with_article(f"{color} {one}"), [{**_clause(one), "color": color}])


def position(one: str, other: str, relation: str) -> Metadata:
    include = [
        _clause(other),
        {**_clause(one), "position": [relation, 0]},
    ]  # the one that it is placed against is first
    return _metadata("position", f"{with_article(one)} {relation} {with_article(other)}", include)


def color_attr(one: str, other: str, color: str, other_color: str) -> Metadata:
    text = f"{with_article(f'{color} {one}')} and {with_article(f'{other_color} {other}')}"
    return _metadata("color_attr", text, [{**_clause(one), "color": color}, {**_clause(other), "color": other_color}])


def prompt(metadata: Metadata, time: int = 1) -> Prompt:
    """The prompt with its id, a function of its text; the second one of a text in a set ends in "-2"."""
    name = metadata["prompt"].removeprefix("a photo of ").replace(" ", "-")
    identifier = f"{metadata['tag']}-{name}" + (f"-{time}" if time > 1 else "")
    return Prompt(identifier, metadata["prompt"], metadata["tag"], metadata)


@dataclass(frozen=True)
class Pool:
    """Every prompt of a tag, by its number from 0 to `size` - 1."""

    size: int
    make: Callable[[int], Metadata]


def pools(classes: Sequence[str]) -> dict[str, Pool]:
    """Tag -> what can be asked of these classes."""
    colored = [name for name in classes if name != COLOURLESS]
    num, num_colored, num_colors, num_relations = len(classes), len(colored), len(COLORS), len(RELATIONS)
    num_color_pairs = num_colors * (num_colors - 1)

    def of_counting(index: int) -> Metadata:
        which, number = divmod(index, len(NUMBERS))
        return counting(classes[which], tuple(NUMBERS)[number])

    def of_colors(index: int) -> Metadata:
        which, color = divmod(index, num_colors)
        return colors(colored[which], COLORS[color])

    def of_position(index: int) -> Metadata:
        pair, relation = divmod(index, num_relations)
        return position(*_pair(classes, pair), RELATIONS[relation])

    def of_color_attr(index: int) -> Metadata:
        pair, color_pair = divmod(index, num_color_pairs)
        return color_attr(*_pair(colored, pair), *_pair(COLORS, color_pair))

    return {
        "single_object": Pool(num, lambda index: single_object(classes[index])),
        "two_object": Pool(num * (num - 1), lambda index: two_object(*_pair(classes, index))),
        "counting": Pool(num * len(NUMBERS), of_counting),
        "colors": Pool(num_colored * num_colors, of_colors),
        "position": Pool(num * (num - 1) * num_relations, of_position),
        "color_attr": Pool(num_colored * (num_colored - 1) * num_color_pairs, of_color_attr),
    }


def draw(pool: Pool, num: int, seed: Sequence[int], taken: set[Any], *, once: bool) -> list[Prompt]:
    """`num` prompts of a pool in an order that is a function of `seed`, none of whose content is in `taken`.

    `once`: each content once, and added to `taken`; fewer where the pool has no more. Otherwise every wording counts,
    and a pool that runs out is gone through again: no prompt comes more than one time more often than another.
    """
    import numpy

    # numpy promises the raw stream of a bit generator for good, but not that of its shuffles: the order is made of it
    raw = numpy.random.PCG64(list(seed)).random_raw(pool.size)
    found: list[Metadata] = []
    for metadata in map(pool.make, map(int, numpy.argsort(raw, kind="stable"))):
        if len(found) == num:
            break
        what = content(metadata)
        if what not in taken:
            found.append(metadata)
            if once:
                taken.add(what)
    if once or not found:
        return [prompt(metadata) for metadata in found]
    return [prompt(found[index % len(found)], index // len(found) + 1) for index in range(num)]


def _pair(items: Sequence[str], index: int) -> tuple[str, str]:
    """The ordered pair of different items of that number."""
    first, second = divmod(index, len(items) - 1)
    return items[first], items[second + (second >= first)]


def _clause(name: str, count: int = 1) -> Metadata:
    return {"class": name, "count": count}


def _metadata(tag: str, words: str, include: list[Metadata]) -> Metadata:
    return {"tag": tag, "include": include, "prompt": f"a photo of {words}"}
