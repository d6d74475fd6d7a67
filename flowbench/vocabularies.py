"""The words that prompts and those who judge pictures share: classes, colours, places and numbers, as GenEval has them.

Prompts ask for a class by these names, and a detector's class number is the index here; neither package may import the
other.
"""

from __future__ import annotations

COCO80: tuple[str, ...] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed",
    "dining table", "toilet", "tv", "laptop", "computer mouse", "tv remote", "computer keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
)  # fmt: skip
"""The 80 classes of COCO under GenEval's names, in COCO's order.

Source: `evaluation/object_names.txt` of djghosh13/geneval. Three names differ from COCO's own (mouse, remote,
keyboard).
"""

TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
"""What a GenEval prompt tests. The tag decides how it is judged: `counting` wants a higher confidence."""
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
RELATIONS = ("left of", "right of", "above", "below")
MIRRORED = {"right of": "left of", "below": "above"}
"""A relation -> the one that says the same with both objects exchanged."""
NUMBERS = {2: "two", 3: "three", 4: "four"}


def plural(name: str) -> str:
    """'cross' -> 'crosses', by GenEval's rule: '+es' when the name ends in s, else '+s'."""
    return name + ("es" if name.endswith("s") else "s")


def with_article(words: str) -> str:
    """'orange ring' -> 'an orange ring', by GenEval's rule: 'an' exactly when the first letter is a vowel."""
    return ("an " if words[0] in "aeiou" else "a ") + words
