"""Diversity in the built-in world, by its exact detector: colours where the prompt leaves them open, and layouts.

A policy that always paints a brown and a red shape in one layout satisfies every verdict; these two numbers fall when
it does. Both look at objects that the prompt asks for and at no others, so that litter does not count as variety: of a
kind, the most confident detections, as many as are asked for. Compare with the base at the same guidance, on the same
prompts and seeds, with as many pictures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy

from flowbench.metrics.catalog import register
from flowbench.metrics.too_few import too_few_of_prompt
from flowbench.rewards.card import Card
from flowbench.shapes.detector import detect
from flowbench.shapes.grammar import COLORS, KINDS
from flowbench.types import Detection, Prompt, Sample, Score

if TYPE_CHECKING:
    from PIL import Image

_card = partial(
    Card, low=0.0, direction="higher", licence="none needed",
    preprocessing="objects by the exact detector of the built-in world, the most confident of each kind asked for",
    reference="none published: the prompts are the built-in world's",
)  # fmt: skip
COLOR_CARD = _card(
    "object_color_entropy",
    "How many colours the objects have whose colour the prompt leaves open: 0 is one colour.",
    "bits", high=math.log2(len(COLORS)), source="ours: Shannon entropy, pooled over all pictures",
)  # fmt: skip
LAYOUT_CARD = _card(
    "layout_diversity",
    "How far the objects asked for lie from their mean place: 0 is one layout in every picture.",
    "sides of the picture", high=1.0, source="ours: standard deviation of the boxes' centres",
)  # fmt: skip


@register("object_color_entropy", card=COLOR_CARD, level="set", compares=False)
def object_color_entropy() -> Callable[[Sequence[Sample]], Score]:
    """The entropy of the colours of the objects asked for without one, over the pictures of all prompts. Plugged in,
    it is low by about 9 / (2 n ln 2) bits with n objects: compare equal numbers of pictures."""

    def metric(samples: Sequence[Sample]) -> Score:
        colors = Counter(color for sample in samples for color in open_colors(sample.prompt, detect(sample.image)))
        if colors.total() < 2:
            return Score.unscored(
                f"object_color_entropy compares the objects whose colour their prompts leave open, and found "
                f"{colors.total()} of them. Give pictures of the set 'shapes' with 2 or more."
            )
        return Score(entropy(colors.values()), details={"colors": dict(sorted(colors.items()))})

    return metric


@register("layout_diversity", card=LAYOUT_CARD, level="prompt")
def layout_diversity() -> Callable[[Sequence[Sample]], Score]:
    """The standard deviation of the places of the objects asked for, over the pictures of a prompt."""

    def metric(samples: Sequence[Sample]) -> Score:
        lacking = too_few_of_prompt("layout_diversity", samples)
        if lacking:
            return lacking
        wanted = asked(samples[0].prompt)
        found = [centres(wanted, detect(sample.image), sample.image) for sample in samples]
        value = spread_of(found)
        if math.isnan(value):
            return Score.unscored(
                "layout_diversity found nothing that the prompt asks for on two of its pictures. Give pictures of the "
                "set 'shapes'."
            )
        return Score(value, details={"pictures": len(samples)})

    return metric


def asked(prompt: Prompt) -> Counter[str]:
    """Kind -> how many of it the prompt asks for; empty where it names none of the built-in world's."""
    kinds: Counter[str] = Counter()
    for clause in prompt.metadata.get("include", ()):
        if clause.get("class") in KINDS:
            kinds[clause["class"]] += clause.get("count", 1)
    return kinds


def open_colors(prompt: Prompt, detections: Sequence[Detection]) -> list[str]:
    """Colours of the objects found that the prompt asks for without a colour, at most as many as it asks for.

    detections: of one picture, most confident first.
    """
    named = {clause.get("class") for clause in prompt.metadata.get("include", ()) if clause.get("color")}
    return [
        str(each.color)
        for kind, count in asked(prompt).items()
        if kind not in named
        for each in _of_kind(kind, detections)[:count]
    ]


def entropy(counts: Iterable[int]) -> float:
    """Shannon entropy in bits of the shares that these counts are of their sum, which is above 0."""
    values = numpy.array([count for count in counts if count], dtype=numpy.float64)
    shares = values / values.sum()
    return float(max(-(shares * numpy.log2(shares)).sum(), 0.0))


def centres(
    wanted: Mapping[str, int], detections: Sequence[Detection], image: Image.Image
) -> dict[str, list[tuple[float, float]]]:
    """Kind -> centres (x, y) of the boxes of those asked for, in sides of the picture, sorted by x, then y.

    A kind of which fewer are found than asked for is left out: which of them is missing nobody can say.
    """
    found = {kind: _of_kind(kind, detections)[:count] for kind, count in wanted.items()}
    return {
        kind: sorted(
            ((each.box[0] + each.box[2]) / (2 * image.width), (each.box[1] + each.box[3]) / (2 * image.height))
            for each in some
        )
        for kind, some in found.items()
        if len(some) == wanted[kind]
    }


def spread_of(pictures: Sequence[Mapping[str, Sequence[tuple[float, float]]]]) -> float:
    """Root of the mean squared distance of the objects' centres from their own mean over the pictures.

    pictures: `centres` of each. The k-th of a kind is one object. Pictures that lack a kind take no part in it; a kind
    on fewer than two has no spread, and NaN is returned when none has one. Every sum of squares is divided by its
    pictures less one, so that the number does not grow with the pictures on which an object is found: a policy that
    misses fewer objects than its base would otherwise seem the more diverse. In [0, 1].
    """
    variances: list[float] = []
    for kind in sorted({kind for picture in pictures for kind in picture}):
        places = numpy.array([picture[kind] for picture in pictures if kind in picture])  # (pictures, objects, 2)
        if len(places) >= 2:
            variances += places.var(axis=0, ddof=1).sum(axis=-1).tolist()
    return math.sqrt(sum(variances) / len(variances)) if variances else math.nan


def _of_kind(kind: str, detections: Sequence[Detection]) -> list[Detection]:
    return [each for each in detections if each.label == kind]
