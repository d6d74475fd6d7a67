"""The detectors that GenEval rewards can judge with, by name, and the default one of each vocabulary.

A detector is a factory that returns a function: RGB pictures -> one list of Detections for each. Its keyword parameters
may be `dtype`, `device` and `batch_size`, which it gets from the reward. To add one:
`detectors.registry.register("name", card=DetectorCard("coco80"))` on its factory.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowbench.errors import RewardError
from flowbench.registry import Registry
from flowbench.rewards.card import Card, Terms
from flowbench.rewards.geneval import coco
from flowbench.rewards.geneval.rule import CONFIDENCE
from flowbench.rewards.licences import require_accepted
from flowbench.shapes.grammar import KINDS
from flowbench.types import Detection
from flowbench.vocabularies import COLORS

if TYPE_CHECKING:
    from PIL import Image

Detect = Callable[["Sequence[Image.Image]"], list[list[Detection]]]


@dataclass(frozen=True)
class DetectorCard:
    """The facts of one detector: numbers by different ones are different metrics."""

    vocabulary: str
    """The one that it was made for."""
    labels: Collection[str] | None = None
    """The class names that it can find; None where it does not say."""
    names_colors: bool = True
    """Its detections say their colour; if not, GenEval's colour network (`colors`) is asked about them."""
    colors: Collection[str] = COLORS
    """The names of colours that they say: a prompt that asks for another one is refused."""
    backbone: str = ""
    """Its network, for readers."""
    weights: str = ""
    """The asset that it loads."""
    licence: str = ""
    """That of its weights."""
    terms: Terms = "permissive"
    """What the licence asks (see `rewards.Card`)."""
    needs: tuple[str, ...] = ()
    """All assets that judging with it may load."""
    about: str = ""
    """What a reader has to know before comparing its numbers."""


def _mask2former(weights: str, licence: str, about: str, terms: Terms = "permissive") -> DetectorCard:
    return DetectorCard("coco80", coco.NAMES, names_colors=False, backbone="Mask2Former, Swin-S", weights=weights,
                        licence=licence, terms=terms, needs=(weights, "clip-vit-l-14"), about=about)  # fmt: skip


registry = Registry("detector", factories=True, cards=DetectorCard)
registry.add(
    "shapes",
    "flowbench.shapes.detector:build",
    card=DetectorCard("shapes", KINDS, licence="Apache-2.0", about="exact on the built-in world's own drawings"),
)
registry.add(
    "mask2former",
    "flowbench.rewards.geneval.mask2former:build",
    card=_mask2former("geneval", "Apache-2.0", "GenEval's detector and weights, converted for transformers"),
)
registry.add(
    "mask2former-hf",
    "flowbench.rewards.geneval.mask2former:build_hf",
    card=_mask2former(
        "mask2former-hf",
        "other (see its page)",
        "the network of GenEval's detector with its authors' weights, not GenEval's: another metric, whose numbers "
        "must not be compared with published ones",
        "unknown",
    ),
)
registry.add(
    "mmdet",
    "flowbench.rewards.geneval.mmdet:build",
    card=_mask2former("geneval", "Apache-2.0", "GenEval's detector and weights in mmdet itself: the reference"),
)

DEFAULT_DETECTOR = {"coco80": "mask2former", "shapes": "shapes"}
DEFAULT_VOCABULARY = "shapes"
LEAST_SCORE = CONFIDENCE
"""GenEval's confidence threshold: a detector may leave out what is at or below it, which no rule reads."""


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


def build(name: str, **options: Any) -> Detect:
    """Build the detector of that name with those of the options that it has; one without a network has no `device`.

    What it finds is checked: a RewardError names the detector that returns something else than a list of Detections
    with finite numbers, and of colours that its card names, for each picture.
    """
    factory, card = registry.get(name), registry.card(name)
    if card is not None:
        require_accepted(Card(name, licence=card.licence, terms=card.terms))
    known = inspect.signature(factory).parameters
    detect = factory(**{key: value for key, value in options.items() if key in known})
    said = colors(name)

    def checked(images: Sequence[Image.Image]) -> list[list[Detection]]:
        found = [list(objects) for objects in detect(images)]
        if len(found) != len(images):
            raise RewardError(
                f"the detector '{name}' got {len(images)} pictures and returned {len(found)} lists. Return one list of "
                "Detections for each picture, in the same order."
            )
        for each in (each for objects in found for each in objects):
            if not isinstance(each, Detection) or not all(map(math.isfinite, (each.score, *each.box))):
                raise RewardError(
                    f"the detector '{name}' found {repr(each)[:200]}. Return Detections with a finite score and a box "
                    "of finite numbers."
                )
            if each.color is not None and each.color not in said:
                raise RewardError(
                    f"the detector '{name}' found a {each.label} of the colour '{each.color}'. Its colours are "
                    f"{', '.join(said)}: name others in its DetectorCard (`colors`)."
                )
        return found

    return checked


def labels(name: str) -> frozenset[str] | None:
    """The class names that the detector can find; None when it does not say."""
    card = registry.card(name)
    return frozenset(card.labels) if card is not None and card.labels is not None else None


def colors(name: str) -> tuple[str, ...]:
    """The names of colours that its detections, or GenEval's colour network in its place, can say."""
    card = registry.card(name)
    return tuple(card.colors if card is not None and card.names_colors else COLORS)


def names_colors(name: str) -> bool:
    """Do its detections say their colour? One that is registered without a card has to."""
    card = registry.card(name)
    return card is None or card.names_colors


def needs(options: Mapping[str, Any], vocabulary: str | None) -> tuple[str, ...]:
    """The assets that a GenEval reward with these options may load, by the detector that `choose` finds. Raises what
    that raises."""
    card = registry.card(choose(options.get("detector"), vocabulary))
    return card.needs if card is not None else ()
