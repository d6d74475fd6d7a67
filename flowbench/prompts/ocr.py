"""Scenes with text to be rendered: ours, written for flowbench, in natural English and without brand names.

test    200 scenes, shipped in data/ocr.txt: signs, covers, cakes, screens ... ; 60 ask for one word, 70 for two, 70
        for a phrase of three to five
train   1,000 made from templates: a place, and words that no scene of the test asks for
dev     60 of the same templates, 20 of each length, with texts of their own
The tag is the length of the text: one_word, two_words, phrase. `text` in the metadata is what has to be read, exactly
as it stands in the prompt between straight double quotes. Licence: flowbench's.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from itertools import product
from pathlib import Path

from flowbench.errors import ConfigError
from flowbench.prompts.prompt_set import PromptSet
from flowbench.types import Prompt

SCENES = Path(__file__).with_name("data") / "ocr.txt"
"""One scene a line. New ones go to the end: the id is the line's number."""
TAGS = ("one_word", "two_words", "phrase")
SPLITS = ("train", "dev", "test")
_SIZES = {"one_word": (50, 20), "two_words": (450, 20), "phrase": (500, 20)}
"""Of each tag: prompts of train and of dev."""

_PLACES = (
    'A wooden sign over a shop door that reads "{}"', 'A neon sign on a dark street that says "{}"',
    'A chalkboard in a kitchen with "{}" written on it', 'A hardcover book on a desk with the title "{}"',
    'A cotton T-shirt printed with "{}"', 'A round cake with "{}" in icing', 'A street sign that reads "{}"',
    'A cardboard box stamped "{}"', 'A glass bottle with a paper label that says "{}"',
    'A banner across a town square with the words "{}"', 'A tablet screen that shows "{}"',
    'A brass plate on a door engraved "{}"', 'A brick wall with "{}" painted on it in white',
    'A movie poster with the title "{}"', 'A paper bag on a counter printed with "{}"',
    'A sailing boat with "{}" on its hull', 'A sticky note on a fridge that says "{}"',
    'A stone tablet in a garden carved with "{}"', 'A train station board that reads "{}"',
    'A greeting card on a shelf with "{}" in script',
)  # fmt: skip
_FIRST = (
    "amber", "brave", "broken", "busy", "clever", "copper", "crooked", "daily", "eager", "frozen", "gentle", "hidden",
    "hollow", "humble", "ivory", "jolly", "little", "lonely", "mighty", "modern", "narrow", "noble", "orange",
    "patient", "proud", "rapid", "rusty", "scarlet", "secret", "sunny",
)  # fmt: skip
_SECOND = (
    "acorn", "anvil", "basket", "beacon", "bridge", "button", "canyon", "castle", "cherry", "comet", "compass",
    "cottage", "crane", "feather", "forge", "garden", "hammer", "island", "kettle", "ladder", "lantern", "marble",
    "meadow", "mirror", "needle", "orchard", "otter", "pebble", "pepper", "rabbit", "ribbon", "saddle", "sparrow",
    "teapot", "thistle", "tunnel", "velvet", "violin", "walnut", "whistle",
)  # fmt: skip


def load(split: str) -> list[Prompt]:
    """The prompts of "train", "dev" or "test", grouped by tag. Raises ConfigError for another split."""
    if split not in SPLITS:
        raise ConfigError(f"prompt set 'ocr' has no split '{split}'. Choose one of {', '.join(SPLITS)}.")
    return list(_test() if split == "test" else _made()[split])


@cache
def _test() -> tuple[Prompt, ...]:
    scenes = SCENES.read_text(encoding="utf-8").splitlines()
    return tuple(_prompt(f"ocr-{number:03d}", scene) for number, scene in enumerate(scenes, start=1))


@cache
def _made() -> dict[str, tuple[Prompt, ...]]:
    """Texts in an order by their hash, which is a fixed shuffle; each text stands in one prompt only."""
    pairs = list(product(_FIRST, _SECOND))
    phrases = []  # of three, four or five words
    for first, second in pairs:
        other = _SECOND[int(_hash(f"{first} {second}"), 16) % len(_SECOND)]
        if other != second:
            phrases += [
                f"{first} {second} {other}",
                f"{second} and {first} {other}",
                f"the {second} of {first} {other}",
            ]
    texts = {"one_word": [*_FIRST, *_SECOND], "two_words": [f"{first} {second}" for first, second in pairs],
             "phrase": phrases}  # fmt: skip
    tested = {str(prompt.metadata["text"]).lower() for prompt in _test()}
    made: dict[str, list[Prompt]] = {"train": [], "dev": []}
    for tag in TAGS:
        num_train, num_dev = _SIZES[tag]
        free = sorted((text for text in texts[tag] if text not in tested), key=_hash)
        made["dev"] += map(_made_prompt, free[:num_dev])
        made["train"] += map(_made_prompt, free[num_dev : num_dev + num_train])
    return {split: tuple(prompts) for split, prompts in made.items()}


def _made_prompt(text: str) -> Prompt:
    """The text in capitals or with capital initials, at a place, both by its hash."""
    number = int(_hash(text), 16)
    written = text.upper() if number % 2 else text.title()
    return _prompt(f"ocr-made-{text.replace(' ', '-')}", _PLACES[number // 2 % len(_PLACES)].format(written))


def _prompt(identifier: str, scene: str) -> Prompt:
    text = re.findall(r'"([^"]+)"', scene)[0]
    tag = TAGS[min(len(text.split()), len(TAGS)) - 1]
    return Prompt(identifier, scene, tag, {"prompt": scene, "tag": tag, "text": text})


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


OCR = PromptSet("ocr", "", "1", load, about="200 scenes of ours with text to be rendered; tags: its length")
