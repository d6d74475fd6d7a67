"""Which pictures an evaluation consists of: a pure function of suite, prompts and seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flowbench import store
from flowbench.errors import ConfigError
from flowbench.prompts import in_turns
from flowbench.types import Prompt


@dataclass(frozen=True)
class Item:
    """One picture to be made: the `index`-th of its prompt, from `seed` (None: somebody else has made it), kept under
    the file name `picture`."""

    prompt: Prompt
    index: int
    seed: int | None
    picture: str

    @property
    def key(self) -> tuple[str, int]:
        return self.prompt.id, self.index

    def facts(self) -> dict[str, Any]:
        """What a picture's file says of itself."""
        return {"prompt": self.prompt.text, "prompt_id": self.prompt.id, "index": self.index, "seed": self.seed}


def plan(prompts: Sequence[Prompt], *, suite: str, images_per_prompt: int, seed: int) -> list[Item]:
    """All pictures, prompt by prompt."""
    return [
        Item(prompt, index, image_seed(seed, suite, prompt.id, index), f"{_file_stem(prompt.id)}-{index}.png")
        for prompt in prompts
        for index in range(images_per_prompt)
    ]


def image_seed(seed: int, suite: str, prompt_id: str, index: int) -> int:
    """The seed of one picture, in [0, 2**32): the same for every model, whatever else is evaluated beside it.

    The suite's name goes in, so that a dev and a test suite that share a prompt do not share its noise.
    """
    words = f"{seed}/{suite}/{prompt_id}/{index}"
    return int.from_bytes(hashlib.sha256(words.encode("utf-8")).digest()[:4], "big")


def limited(prompts: Sequence[Prompt], limit: int | None) -> list[Prompt]:
    """At most `limit` prompts in all, taken in turns from the tags (first of each, second of each ...).

    They keep the order of the set. None keeps all. Raises ConfigError for a limit below 1.
    """
    if limit is None:
        return list(prompts)
    if limit < 1:
        raise ConfigError(f"--limit {limit}: it must be 1 or more.")
    kept = in_turns(range(len(prompts)), lambda place: prompts[place].tag)[:limit]
    return [prompts[place] for place in sorted(kept)]


def batches(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    """Fixed slices of the plan, `size` items each (the last may be shorter)."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _file_stem(prompt_id: str) -> str:
    """A file name for a prompt's pictures; ids that had to be bent to become one get a hash, so that none meet."""
    stem = store.slug(prompt_id)[:80]
    if stem == prompt_id:
        return stem
    return f"{stem}-{hashlib.sha256(prompt_id.encode('utf-8')).hexdigest()[:8]}"
