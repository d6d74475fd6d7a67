"""Shared by the reward tests: a tiny real detector, pictures for it, and a registry that tests may write to."""

from __future__ import annotations

import numpy
import pytest
from PIL import Image, ImageDraw

from flowbench.rewards import registry
from flowbench.rewards.geneval import detectors
from flowbench.types import Detection, Prompt, Sample

BLOCKS = {
    (255, 0, 0): ("square", "red"),
    (0, 0, 255): ("circle", "blue"),
    (0, 128, 0): ("star", "green"),
    (9, 9, 9): ("unknown", "black"),
}


def _detect_blocks(images):
    """Every colour of BLOCKS on a picture is one object: its box is where that colour is."""
    return [[found for rgb in BLOCKS for found in _block(numpy.asarray(image), rgb)] for image in images]


def _block(pixels, rgb):
    rows, columns = numpy.nonzero((pixels == rgb).all(axis=-1))
    if len(rows) == 0:
        return []
    label, color = BLOCKS[rgb]
    box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
    return [Detection(label, 0.95, box, color=color)]


def _draw_blocks(**boxes):
    """A white 32 x 32 picture with a rectangle (x0, y0, x1, y1) for each label."""
    image = Image.new("RGB", (32, 32), "white")
    for rgb, (label, _) in BLOCKS.items():
        if label in boxes:
            ImageDraw.Draw(image).rectangle(boxes[label], fill=rgb)
    return image


@pytest.fixture
def keep_registry():
    """Take out again what a test registers."""
    before = set(registry.names())
    yield registry
    for name in set(registry.names()) - before:
        del registry._targets[name]
        registry._cards.pop(name, None)


@pytest.fixture
def blocks(monkeypatch):
    """The blocks detector, registered for the vocabulary `shapes`; its name."""
    monkeypatch.setattr(detectors.registry, "_targets", dict(detectors.registry._targets))
    monkeypatch.setattr(detectors.registry, "_cards", dict(detectors.registry._cards))
    detectors.registry.add("blocks", lambda: _detect_blocks, card=detectors.DetectorCard("shapes"))
    return "blocks"


@pytest.fixture
def draw_blocks():
    """label=(x0, y0, x1, y1), ... -> a picture for the blocks detector."""
    return _draw_blocks


@pytest.fixture
def block_samples():
    """Six samples of three prompts, right and wrong ones, in mixed order."""
    red = Prompt("red", "a red square", "colors", {"include": [{"class": "square", "count": 1, "color": "red"}]})
    two = Prompt(
        "two", "a star and a circle", "two_object", {"include": [{"class": c, "count": 1} for c in ("star", "circle")]}
    )
    left = Prompt(
        "left",
        "a circle left of a square",
        "position",
        {
            "include": [
                {"class": "square", "count": 1},
                {"class": "circle", "count": 1, "position": ["left of", 0]},
            ]
        },
    )
    here, there, below = (2, 2, 9, 9), (20, 2, 27, 9), (2, 20, 9, 27)
    return [
        Sample(red, _draw_blocks(square=here), 0),
        Sample(two, _draw_blocks(star=here), 0),
        Sample(left, _draw_blocks(circle=here, square=there), 0),
        Sample(red, _draw_blocks(circle=here), 1),
        Sample(two, _draw_blocks(star=here, circle=there, unknown=below), 1),
        Sample(left, _draw_blocks(circle=there, square=here), 1),
    ]
