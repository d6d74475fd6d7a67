"""Prompt sets: named and versioned lists of prompts, used by the trainer and by the benchmarks alike."""

from __future__ import annotations

from flowbench.prompts.describe import describe
from flowbench.prompts.prompt_set import PromptSet
from flowbench.prompts.sets import find, load, prompt_sets, prompts_digest
from flowbench.prompts.turns import in_turns

__all__ = ["PromptSet", "describe", "find", "in_turns", "load", "prompt_sets", "prompts_digest"]
