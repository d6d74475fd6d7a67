"""Some of many prompts, with every tag among them."""

from __future__ import annotations

from flowbench.prompts import in_turns


def test_the_first_of_each_tag_then_the_second_by_hand() -> None:
    items = ["a1", "a2", "a3", "b1", "c1", "c2", "b2", "a4"]
    assert in_turns(items, lambda item: item[0]) == ["a1", "b1", "c1", "a2", "b2", "c2", "a3", "a4"]


def test_without_tags_the_order_stays_and_nothing_gives_nothing() -> None:
    assert in_turns([3, 1, 2], lambda item: None) == [3, 1, 2]
    assert in_turns([], lambda item: None) == []
