"""Objects that training never named: GenEval's templates with a quarter of the classes held out. Ours, not GenEval's.

test    the 20 held-out classes only: each alone, all 60 counts of them, and 100 draws of each other tag
train   17,000 lines about the other 60 classes, in the published tag proportions (flowbench/prompts/geneval.py)
dev     30 of each tag but single_object, of the 60 classes
Train and dev also share no picture asked for with the official 553, so that a model trained here may be measured on
`geneval` too. Others have held classes out as well (Flow-GRPO: 20 of 80); which ones differs, so no number of
theirs compares with ours.
"""

from __future__ import annotations

from flowbench.prompts.geneval import known_split, own_splits
from flowbench.prompts.geneval_templates import draw, pools
from flowbench.prompts.leakage import Content
from flowbench.prompts.prompt_set import PromptSet
from flowbench.types import Prompt
from flowbench.vocabularies import COCO80

HELD_OUT = (
    "bicycle", "bus", "fire hydrant", "dog", "sheep", "zebra", "umbrella", "kite", "skateboard", "cup", "spoon",
    "banana", "carrot", "pizza", "couch", "laptop", "cell phone", "toaster", "clock", "teddy bear",
)  # fmt: skip
"""A quarter of each of COCO's groups (vehicles, animals, food ...), so that no kind of thing is lost as a whole."""
SEEN = tuple(name for name in COCO80 if name not in HELD_OUT)
_SIZES = {"single_object": 20, "two_object": 100, "counting": 60, "colors": 100, "position": 100, "color_attr": 100}
_LINES_PER_WEIGHT = 1000
_SEED = 2025


def load(split: str) -> list[Prompt]:
    """The prompts of "train", "dev" or "test", grouped by tag. Raises ConfigError for another split."""
    if known_split("geneval_unseen", split) != "test":
        return list(own_splits(SEEN, _LINES_PER_WEIGHT, 1)[split])
    pool = pools(HELD_OUT)
    seen: set[Content] = set()
    found = []
    for number, (tag, num) in enumerate(_SIZES.items()):
        found += draw(pool[tag], num, (_SEED, 2, number), seen, once=True)
    return found


GENEVAL_UNSEEN = PromptSet(
    "geneval_unseen", "coco80", "1", load, about="ours: GenEval's templates, 20 of 80 classes only in the test"
)
