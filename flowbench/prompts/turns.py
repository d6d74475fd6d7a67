"""Some of many prompts, with every tag among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def in_turns(items: Sequence[T], tag_of: Callable[[T], Any]) -> list[T]:
    """The items with their tags taken in turns: the first of each tag, the second of each, and so on.

    Tags come in the order in which they are met; a tag that has run out is passed over.
    """
    by_tag: dict[Any, list[T]] = {}
    for item in items:
        by_tag.setdefault(tag_of(item), []).append(item)
    longest = max(map(len, by_tag.values()), default=0)
    return [item for place in range(longest) for pool in by_tag.values() for item in pool[place : place + 1]]
