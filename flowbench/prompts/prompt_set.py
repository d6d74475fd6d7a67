"""What a prompt set is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flowbench.types import Prompt


@dataclass(frozen=True)
class PromptSet:
    """A named, versioned list of prompts with splits.

    `vocabulary` names the objects that the metadata speaks of (`shapes`, `coco80`); "" when nobody says so (a file of
    one's own). `load(split)` gives the prompts; it raises ConfigError for a split that is not one of `splits`. `about`
    is a line for readers. Of a set that others publish, `asset` names the files to fetch (`flowbench assets list`).
    """

    name: str
    vocabulary: str
    version: str
    load: Callable[[str], list[Prompt]]
    splits: tuple[str, ...] = ("train", "dev", "test")
    about: str = ""
    asset: str = ""
