"""The prompts of the built-in world: formats, splits, slots."""

from __future__ import annotations

import itertools

import pytest

from flowbench.errors import ConfigError
from flowbench.prompts.leakage import leakage
from flowbench.shapes import grammar


def texts(split: str, tag: str) -> set[str]:
    return {prompt.text for prompt in grammar.prompts(split) if prompt.tag == tag}


def test_counts_by_hand():
    # 8 kinds; 8*7 ordered pairs; 3 numbers x (10 colours + none) x 8; 10 x 8; 56 x 4 relations; 56 x 90 colour pairs.
    totals = {"single_object": 8, "two_object": 56, "counting": 264, "colors": 80, "position": 224, "color_attr": 5040}
    for tag, total in totals.items():
        assert len(set().union(*(texts(split, tag) for split in grammar.SPLITS))) == total


@pytest.mark.parametrize("tag", grammar.HELD_OUT)
def test_splits_share_no_prompt_in_any_wording(tag):
    train, dev, test = (texts(split, tag) for split in grammar.SPLITS)
    assert not train & dev and not train & test and not dev & test
    assert len(test) >= 30
    for a, b in itertools.combinations(grammar.SPLITS, 2):
        (row,) = [
            row for row in leakage(grammar.prompts(a), grammar.prompts(b)) if (row.tag, row.slot) == (tag, "content")
        ]
        assert row.shared == 0


def test_every_class_and_colour_of_the_test_set_is_seen_in_training():
    rows = leakage(grammar.prompts("train"), grammar.prompts("test"))
    assert {row.slot for row in rows} >= {"text", "content", "class", "color", "count", "relation"}
    for row in rows:
        if row.slot in ("class", "color", "count", "relation"):
            assert row.shared == row.evaluated, row


def test_examples_read_as_geneval_writes_them():
    by_text = {prompt.text: prompt.metadata for prompt in (p for s in grammar.SPLITS for p in grammar.prompts(s))}
    assert by_text["a photo of two stars"] == {
        "tag": "counting",
        "include": [{"class": "star", "count": 2}],
        "exclude": [{"class": "star", "count": 3}],
        "prompt": "a photo of two stars",
    }
    assert by_text["a photo of a heart left of a cross"]["include"] == [
        {"class": "cross", "count": 1},
        {"class": "heart", "count": 1, "position": ["left of", 0]},
    ]
    assert by_text["a photo of a red circle and an orange square"]["include"] == [
        {"class": "circle", "count": 1, "color": "red"},
        {"class": "square", "count": 1, "color": "orange"},
    ]
    assert "a photo of four red crosses" in by_text


def test_ids_are_unique():
    for split in grammar.SPLITS:
        ids = [prompt.id for prompt in grammar.prompts(split)]
        assert len(ids) == len(set(ids))


def test_slots_follow_the_order_of_the_text():
    prompt = next(p for p in grammar.prompts("train") if p.tag == "position" and "above" in p.text)
    found = grammar.slots(prompt)
    words = prompt.text.split()
    assert words.index(found["first_kind"]) < words.index(found["second_kind"])
    assert found["relation"] == "above" and found["count"] == "1"


def test_unknown_split():
    with pytest.raises(ConfigError, match="no split 'validation'"):
        grammar.prompts("validation")


def test_leakage_sees_through_mirrored_wording():
    by_text = {prompt.text: prompt for split in grammar.SPLITS for prompt in grammar.prompts(split)}

    def shared(a, b):
        (row,) = [row for row in leakage([by_text[a]], [by_text[b]]) if row.slot == "content"]
        return row.shared

    assert shared("a photo of a heart left of a cross", "a photo of a cross right of a heart") == 1
    assert shared("a photo of a heart left of a cross", "a photo of a heart right of a cross") == 0
    assert shared("a photo of a red ring and a blue star", "a photo of a blue star and a red ring") == 1
    assert shared("a photo of a red ring and a blue star", "a photo of a blue ring and a red star") == 0
