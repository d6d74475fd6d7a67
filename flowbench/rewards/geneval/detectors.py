"""The detectors that GenEval rewards can judge with, by name, and the default one of each vocabulary.

A detector is a factory that returns a function: RGB pictures -> one list of Detections for each. To add one:
`detectors.registry.register("name", card=DetectorCard("coco80"))` on its factory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowbench.errors import RewardError
from flowbench.registry import Registry
from flowbench.types import Detection

if TYPE_CHECKING:
    from PIL import Image

Detect = Callable[["Sequence[Image.Image]"], list[list[Detection]]]


@dataclass(frozen=True)
class DetectorCard:
    """The vocabulary that a detector was made for. `labels()`, where given, lists the class names it can find."""

    vocabulary: str
    labels: Callable[[], Collection[str]] | None = None


def _shapes_labels() -> Collection[str]:
    from flowbench.shapes.grammar import KINDS

    return KINDS


registry = Registry("detector")
registry.add("shapes", "flowbench.shapes.detector:build", card=DetectorCard("shapes", _shapes_labels))

DEFAULT_DETECTOR = {"shapes": "shapes"}
DEFAULT_VOCABULARY = "shapes"


def choose(detector: str | None, vocabulary: str | None) -> str:
    """The detector to use: the one asked for, else the vocabulary's default (no vocabulary named: shapes).

    Raises UnknownName for a detector nobody registered, and RewardError when the vocabulary has no default detector or
    the detector was made for another vocabulary.
    """
    vocabulary = vocabulary or (None if detector else DEFAULT_VOCABULARY)
    name = detector or DEFAULT_DETECTOR.get(str(vocabulary))
    if name is None:
        raise RewardError(
            f"there is no detector for the vocabulary '{vocabulary}' yet; those with one: "
            f"{', '.join(sorted(DEFAULT_DETECTOR))}. Register one for it and name it with the option `detector`."
        )
    card = registry.card(name)
    if card is not None and vocabulary is not None and card.vocabulary != vocabulary:
        raise RewardError(
            f"the detector '{name}' knows the vocabulary '{card.vocabulary}', but the prompts use '{vocabulary}'. "
            "Choose prompts and a detector of one vocabulary."
        )
    return name


def build(name: str) -> Detect:
    """Build the detector of that name."""
    return registry.get(name)()


def labels(name: str) -> frozenset[str] | None:
    """The class names that the detector can find; None when it does not say."""
    card = registry.card(name)
    return frozenset(card.labels()) if card is not None and card.labels is not None else None
