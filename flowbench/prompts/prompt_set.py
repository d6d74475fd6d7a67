"""What a prompt set is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flowbench.types import Prompt


@dataclass(frozen=True)
class PromptSet:
    """A named, versioned list of prompts with splits."""

    name: str
    """By which commands and suites ask for it; of a file, its name without the ending."""
    vocabulary: str
    """Of the objects that its metadata speaks of: "shapes", "coco80"; "" when nobody says so (a file of one's own)."""
    version: str
    """Another one when a prompt changes: ours a number, that of others their commit, of a file its content."""
    load: Callable[[str], list[Prompt]]
    """Split -> its prompts. Raises ConfigError for one that is not among `splits`."""
    splits: tuple[str, ...] = ("train", "dev", "test")
    """The splits that there are."""
    about: str = ""
    """A line for readers."""
    asset: str = ""
    """The files to fetch, of a set that others publish (`flowbench assets list`)."""
