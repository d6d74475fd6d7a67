"""GenEval's 553 prompts, made anew by the published generator, and training prompts that share none with them.

test    the official `evaluation_metadata.jsonl`, byte for byte (its SHA-256 is checked): 80 single_object,
        99 two_object, 80 counting, 94 colors, 100 position, 100 color_attr
train   34,000 lines of our own draws from the same templates, in the tag proportions by which Flow-GRPO's were drawn.
        Counting and colors have fewer prompts than lines: theirs come again, equally often, under ids of their own.
dev     30 of each tag but single_object, whose 80 prompts are all in the test
No two splits share a picture asked for, in any wording. Source: djghosh13/geneval (MIT), create_prompts; proportions:
Flow-GRPO (arXiv 2505.05470) and its public code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache

from flowbench.errors import ConfigError
from flowbench.prompts.geneval_templates import (
    Metadata,
    color_attr,
    colors,
    counting,
    draw,
    pools,
    position,
    prompt,
    single_object,
    two_object,
)
from flowbench.prompts.leakage import content
from flowbench.prompts.prompt_set import PromptSet
from flowbench.types import Prompt
from flowbench.vocabularies import COCO80, COLORS, NUMBERS, RELATIONS

SHA256 = "5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13"
"""Of the official `evaluation_metadata.jsonl`."""
PUBLISHED_WEIGHTS = {"position": 7, "counting": 5, "color_attr": 3, "colors": 1, "two_object": 1}
"""Flow-GRPO's proportions; single_object has none."""
SPLITS = ("train", "dev", "test")
_SEED = 43
_DRAWS = 100
_LINES_PER_WEIGHT = 2000
_DEV_PER_TAG = 30
_OURS = 2025
"""Seed of our own draws; it has no other meaning."""


def metadata_lines() -> Iterator[str]:
    """The lines of the official `evaluation_metadata.jsonl`, without their line ends.

    Raises ConfigError where the installed numpy draws other numbers than the one that made the file.
    """
    yield from _official_lines()


def load(split: str) -> list[Prompt]:
    """The prompts of "train", "dev" or "test", grouped by tag. Raises ConfigError for another split."""
    if known_split("geneval", split) == "test":
        return official()
    return list(own_splits(COCO80, _LINES_PER_WEIGHT, 0)[split])


def official() -> list[Prompt]:
    """The 553 prompts in the official order."""
    return [prompt(json.loads(line)) for line in _official_lines()]


def known_split(name: str, split: str) -> str:
    """The split, when it is one. Raises ConfigError."""
    if split not in SPLITS:
        raise ConfigError(f"prompt set '{name}' has no split '{split}'. Choose one of {', '.join(SPLITS)}.")
    return split


@cache
def own_splits(classes: tuple[str, ...], lines_per_weight: int, purpose: int) -> dict[str, tuple[Prompt, ...]]:
    """ "dev" and "train" of these classes; neither shares a content with the official 553, nor the one with the other.

    Train has `lines_per_weight` times the published weight of each tag; `purpose` keeps the draws of two sets apart.
    """
    pool = pools(classes)
    taken = {content(each.metadata) for each in official()}
    dev, train = [], []
    for number, tag in enumerate(PUBLISHED_WEIGHTS):
        dev += draw(pool[tag], _DEV_PER_TAG, (_OURS, purpose, number, 0), taken, once=True)
    for number, (tag, weight) in enumerate(PUBLISHED_WEIGHTS.items()):
        train += draw(pool[tag], weight * lines_per_weight, (_OURS, purpose, number, 1), taken, once=False)
    return {"dev": tuple(dev), "train": tuple(train)}


@cache
def _official_lines() -> tuple[str, ...]:
    lines = tuple(dict.fromkeys(json.dumps(metadata) for metadata in _generated()))
    if hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest() != SHA256:
        import numpy

        raise ConfigError(
            f"numpy {numpy.__version__} draws other numbers than the numpy that made GenEval's prompts. Install numpy "
            "2.3, or give the official evaluation_metadata.jsonl: `--prompts FILE`."
        )
    return lines


def _generated() -> Iterator[Metadata]:
    """The generator's draws, duplicates included, in its order: each draw moves on the one stream of numbers."""
    import numpy

    rng = numpy.random.default_rng(_SEED)
    num = len(COCO80)

    def classes() -> tuple[str, str]:
        first, second = rng.choice(num, size=2, replace=False)
        return COCO80[first], COCO80[second]

    def colored(index: int) -> str:  # every class but person, which is the first
        return COCO80[(index + 1 + COCO80.index("person")) % num]

    for index in rng.choice(num, size=num, replace=False):
        yield single_object(COCO80[index])
    for _ in range(_DRAWS):
        yield two_object(*classes())
    for _ in range(_DRAWS):
        yield counting(COCO80[rng.choice(num)], int(rng.integers(min(NUMBERS), max(NUMBERS), endpoint=True)))
    for _ in range(_DRAWS):
        yield colors(colored(rng.choice(num - 1)), COLORS[rng.choice(len(COLORS))])
    for _ in range(_DRAWS):
        yield position(*classes(), RELATIONS[rng.choice(len(RELATIONS))])
    for _ in range(_DRAWS):
        one, other = (colored(index) for index in rng.choice(num - 1, size=2, replace=False))
        first, second = (COLORS[index] for index in rng.choice(len(COLORS), size=2, replace=False))
        yield color_attr(one, other, first, second)


GENEVAL = PromptSet(
    "geneval", "coco80", "1", load, about="GenEval's 553, regenerated; training prompts of the same templates, disjoint"
)
