"""The prompts of the built-in world, in GenEval's six tags and metadata format (see flowbench/shapes/grammar.py)."""

from __future__ import annotations

from flowbench.prompts.prompt_set import PromptSet
from flowbench.types import Prompt


def load(split: str) -> list[Prompt]:
    """All prompts of "train", "dev" or "test", grouped by tag."""
    from flowbench.shapes import grammar

    return list(grammar.prompts(split))


SHAPES = PromptSet("shapes", "shapes", "1", load, about="the built-in world, in GenEval's six tags")
