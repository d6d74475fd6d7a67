"""What can be asked of the letters world: signs with one to four capital letters.

Twenty letters: with I, M, O, Q, V and W RapidOCR takes a sign of this size for another one too often
(docs/decisions/0024). Texts of two, three and four letters are split into train, dev and test, which share none; the
twenty signs of one letter stand in every split, and are tested on unseen seeds only. Of the 160,000 texts of four
letters, and of the 8,000 of three, a fixed choice is asked for.
"""

from __future__ import annotations

import hashlib
from functools import cache
from itertools import product

from flowbench.errors import ConfigError
from flowbench.types import Prompt

LETTERS = "ABCDEFGHJKLNPRSTUXYZ"
TAGS = ("one_letter", "two_letters", "three_letters", "four_letters")
"""By the length of the text."""
SPLITS = ("train", "dev", "test")
TEST, DEV, TRAIN = 40, 24, 4000
"""Texts of each length above one in a split; in train there may be fewer."""


@cache
def prompts(split: str) -> tuple[Prompt, ...]:
    """All prompts of one split, grouped by tag in the order of TAGS. Raises ConfigError for an unknown split."""
    if split not in SPLITS:
        raise ConfigError(f"prompt set 'letters' has no split '{split}'. Choose one of {', '.join(SPLITS)}.")
    return tuple(prompt(text) for length in range(1, len(TAGS) + 1) for text in _texts(length)[split])


def prompt(text: str) -> Prompt:
    """A prompt for a text. Raises ConfigError for one that the world cannot write."""
    unknown = sorted(set(text) - set(LETTERS))
    if unknown or not 1 <= len(text) <= len(TAGS):
        raise ConfigError(
            f"a sign cannot say '{text}' in the letters world. Ask for one to {len(TAGS)} of the letters {LETTERS}."
        )
    written, tag = f'a sign that says "{text}"', TAGS[len(text) - 1]
    return Prompt(f"letters-{text}", written, tag, {"prompt": written, "tag": tag, "text": text})


@cache
def _texts(length: int) -> dict[str, list[str]]:
    """split -> texts. The order by hash is a fixed shuffle that no change of the generator's order can disturb."""
    every = ["".join(letters) for letters in product(LETTERS, repeat=length)]
    if length == 1:
        return dict.fromkeys(SPLITS, every)
    shuffled = sorted(every, key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    held_out = TEST + DEV
    return {"test": shuffled[:TEST], "dev": shuffled[TEST:held_out], "train": shuffled[held_out : held_out + TRAIN]}
