"""What a prompt asks for, against what a model can write."""

from __future__ import annotations

from collections.abc import Sequence

from flowbench.errors import ConfigError
from flowbench.letters import NAME
from flowbench.letters.grammar import LETTERS
from flowbench.rewards.ocr.text import quoted_parts
from flowbench.types import Prompt


def check_signs(training: Sequence[Prompt], vocabulary: str) -> None:
    """Raise ConfigError for a prompt that asks the letters model for letters which it cannot write: its tokenizer would
    leave them out without a word. Other models (`vocabulary`) are not asked."""
    if vocabulary != NAME:
        return
    for prompt in training:
        if unknown := sorted(set("".join(quoted_parts(prompt.text)).upper()) - {*LETTERS, " "}):
            raise ConfigError(
                f"prompt '{prompt.text}': the model '{NAME}' writes no {' '.join(unknown)}. It knows the letters "
                f"{LETTERS}."
            )
