"""`shapes` for the makers of models."""

from __future__ import annotations

from flowbench.pretrain.base import World
from flowbench.shapes import NAME, grammar, world
from flowbench.types import Prompt
from flowbench.vocabularies import RELATIONS, plural

NOUNS = {*grammar.KINDS, *(plural(kind) for kind in grammar.KINDS)}


def nouns_at(prompt: Prompt) -> dict[str, int]:
    """The positions of the tokens that name the first and the second kind; a word is a token, after the start."""
    first, *others = [1 + place for place, word in enumerate(prompt.text.split()) if word in NOUNS]
    return {"first": first, "second": others[0] if others else -1}


WORLD = World(
    name=NAME,
    size=world.SIZE,
    latent_channels=4,
    prompts=grammar.prompts,
    words=sorted(
        {word for split in grammar.SPLITS for prompt in grammar.prompts(split) for word in prompt.text.split()}
    ),
    length=12,
    slots={
        "first_kind": grammar.KINDS,
        "second_kind": ("", *grammar.KINDS),
        "first_color": ("", *grammar.COLORS),
        "second_color": ("", *grammar.COLORS),
        "count": ("1", "2", "3", "4"),
        "relation": ("", *RELATIONS),
    },
    slots_of=grammar.slots,
    marks={
        "first": ("first_kind", "first_color", "count"),
        "second": ("second_kind", "second_color", "relation", "first_kind"),
    },
    marks_of=nouns_at,
    picture_of=lambda prompt, rng: world.render(world.sample_scene(prompt.metadata, rng)),
    any_picture=lambda rng: world.render(world.random_scene(rng)),
    tag_weights={"single_object": 1, "two_object": 2, "counting": 2, "colors": 2, "position": 2, "color_attr": 2},
    easy_tags=("single_object", "colors"),
    steps=15_000,
    settings={"vocabulary": "shapes", "guidance": 3.0, "default_recipe": "shapes-geneval"},
)
