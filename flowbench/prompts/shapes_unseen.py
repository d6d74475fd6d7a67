"""Kinds and counts that training never asked for: the built-in world's prompts with two kinds and the count of four
held out, for the question whether what is learned carries over (Flow-GRPO, section 5: unseen objects and counts).

train, dev   those prompts of `shapes` that ask for neither
test         those test prompts of `shapes` that ask for a held-out kind or for four of something
The built-in model itself has been pretrained on all of them, as a published base knows the objects of the world.
"""

from __future__ import annotations

from flowbench.prompts.geneval import known_split
from flowbench.prompts.prompt_set import PromptSet
from flowbench.types import Prompt

KINDS, COUNT = ("heart", "ring"), 4
"""What is held out."""


def is_unseen(prompt: Prompt) -> bool:
    """Whether a prompt of the built-in world asks for a kind or a count that is held out."""
    return any(clause["class"] in KINDS or clause.get("count", 1) == COUNT for clause in prompt.metadata["include"])


def load(split: str) -> list[Prompt]:
    """The prompts of "train", "dev" or "test", grouped by tag. Raises ConfigError for another split."""
    from flowbench.shapes import grammar

    wanted = known_split("shapes_unseen", split) == "test"
    return [prompt for prompt in grammar.prompts(split) if is_unseen(prompt) == wanted]


SHAPES_UNSEEN = PromptSet(
    "shapes_unseen", "shapes", "1", load, about="the built-in world, hearts, rings and fours only in the test"
)
