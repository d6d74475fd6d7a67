"""The prompts of the letters world: signs with one to four capital letters (see flowbench/letters/grammar.py)."""

from __future__ import annotations

from flowbench.prompts.prompt_set import PromptSet
from flowbench.types import Prompt


def load(split: str) -> list[Prompt]:
    """All prompts of "train", "dev" or "test", grouped by tag."""
    from flowbench.letters import grammar

    return list(grammar.prompts(split))


LETTERS = PromptSet("letters", "letters", "1", load, about="signs of the letters world; tags: how many letters")
