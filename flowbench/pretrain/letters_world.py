"""`letters` for the makers of models."""

from __future__ import annotations

import numpy
from PIL import Image

from flowbench.letters import NAME, grammar, world
from flowbench.pretrain.base import World
from flowbench.types import Prompt

PLACES = ("letter1", "letter2", "letter3", "letter4")
BEFORE = len(("start", "a", "sign", *"that", *"says", '"'))
"""Tokens before the first letter. `that` and `says` fall apart into letters: a merge of theirs would make one token of
letters that a sign may show side by side."""


def slots(prompt: Prompt) -> dict[str, str]:
    """The text's letters by their place ('' = absent), and their number."""
    text = prompt.metadata["text"]
    return {"length": str(len(text)), **{place: text[k : k + 1] for k, place in enumerate(PLACES)}}


def letters_at(prompt: Prompt) -> dict[str, int]:
    """The position of each letter's token; -1 where there is none."""
    length = len(prompt.metadata["text"])
    return {place: BEFORE + k if k < length else -1 for k, place in enumerate(PLACES)}


def any_picture(rng: numpy.random.Generator) -> Image.Image:
    """A sign with one to four letters, each as likely as any, anywhere."""
    text = "".join(rng.choice(list(grammar.LETTERS), size=rng.integers(1, len(PLACES) + 1)))
    return world.render(world.sample_sign(text, rng, roams=True))


WORLD = World(
    name=NAME,
    size=world.SIZE,
    latent_channels=8,
    prompts=grammar.prompts,
    words=("a", "sign", '"'),
    length=BEFORE + len(PLACES) + 2,
    slots={"length": ("1", "2", "3", "4"), **dict.fromkeys(PLACES, ("", *grammar.LETTERS))},
    slots_of=slots,
    marks={place: ("length", place) for place in PLACES},
    marks_of=letters_at,
    picture_of=lambda prompt, rng: world.render(world.sample_sign(prompt.metadata["text"], rng)),
    any_picture=any_picture,
    tag_weights={"one_letter": 1, "two_letters": 2, "three_letters": 3, "four_letters": 4},
    easy_tags=("one_letter", "two_letters"),
    steps=3_000,
    settings={"vocabulary": "letters", "guidance": 3.0, "default_recipe": "letters-ocr"},
    merges=(("s", "i"), ("si", "g"), ("sig", "n</w>")),
)
