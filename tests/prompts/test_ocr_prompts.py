"""Our own scenes with text: what the file promises, and training texts that are not in it."""

from __future__ import annotations

import re
from collections import Counter

from flowbench import prompts
from flowbench.prompts.ocr import SCENES
from flowbench.rewards.ocr.text import normalise, target_text


def test_two_hundred_scenes_of_three_lengths() -> None:
    test = prompts.load("ocr", "test")
    assert Counter(prompt.tag for prompt in test) == {"one_word": 60, "two_words": 70, "phrase": 70}
    assert [prompt.id for prompt in test] == [f"ocr-{number:03d}" for number in range(1, 201)]
    lengths = {"one_word": {1}, "two_words": {2}, "phrase": {3, 4, 5}}
    for tag, allowed in lengths.items():
        assert {len(str(prompt.metadata["text"]).split()) for prompt in test if prompt.tag == tag} == allowed


def test_the_file_is_clean() -> None:
    lines = SCENES.read_text(encoding="utf-8").splitlines()
    assert len({line.lower() for line in lines}) == len(lines)
    for line in lines:
        assert line.isascii() and line == line.strip() and "  " not in line
        assert line.count('"') == 2
        assert line[0].isupper()
    texts = [re.findall('"(.*)"', line)[0] for line in lines]
    assert len({normalise(text) for text in texts}) == len(texts)
    assert sum(any(mark.isdigit() for mark in text) for text in texts) >= 10
    assert sum(any(not mark.isalnum() and mark != " " for mark in text) for text in texts) >= 8
    assert len({line.split('"')[0] for line in lines}) == len(lines), "no scene is used for two texts"


def test_the_reward_looks_for_the_quoted_text() -> None:
    for split in ("train", "dev", "test"):
        for prompt in prompts.load("ocr", split):
            quoted = re.findall('"([^"]+)"', prompt.text)
            assert [prompt.metadata["text"]] == quoted
            assert target_text(prompt.text, {}) == target_text(prompt.text, prompt.metadata) == quoted[0]


def test_no_text_stands_in_two_splits() -> None:
    texts = {split: [normalise(str(prompt.metadata["text"])) for prompt in prompts.load("ocr", split)]
             for split in ("train", "dev", "test")}  # fmt: skip
    assert {split: len(each) for split, each in texts.items()} == {"train": 1000, "dev": 60, "test": 200}
    every = [text for each in texts.values() for text in each]
    assert len(set(every)) == len(every)
