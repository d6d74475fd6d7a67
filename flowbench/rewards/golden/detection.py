"""Golden checks of GenEval's detectors and colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy
from PIL import Image

from flowbench.rewards.geneval import detectors
from flowbench.rewards.golden.finding import Finding
from flowbench.rewards.golden.photographs import LABELS, photo, swapped
from flowbench.rewards.networks import place
from flowbench.types import Detection

SURE = 0.9


def geneval(reward: str, device: str) -> Iterator[Finding]:
    """The class on each photograph is found with confidence; with red and blue swapped the detector is less sure; the
    colour network runs with QuickGELU and calls flat patches by their names."""
    yield from _detector("mask2former", reward, device)
    yield from _colors(reward, device)


def shapes(reward: str, device: str) -> Iterator[Finding]:
    """The exact detector finds what the renderer draws."""
    from flowbench.shapes import grammar, world

    rng = numpy.random.default_rng(0)
    scenes = [world.sample_scene(prompt.metadata, rng) for prompt in grammar.prompts("test")[:20]]
    found = detectors.build("shapes")([world.render(scene) for scene in scenes])
    right = sum(len(scene) == len(each) for scene, each in zip(scenes, found, strict=True))
    yield Finding(reward, "finds what was drawn", right == len(scenes), f"{right} of {len(scenes)} scenes")


def _detector(name: str, reward: str, device: str) -> Iterator[Finding]:
    detect = detectors.build(name, device=device)
    photos = {key: photo(key) for key in LABELS}
    plain = _confidences(detect(list(photos.values())))
    other = _confidences(detect([swapped(image) for image in photos.values()]))
    for key, sure in plain.items():
        yield Finding(reward, f"{name} finds the {LABELS[key]}", sure > SURE, f"confidence {sure:.3f}")
    seen = f"{sum(plain.values()):.3f} > {sum(other.values()):.3f}"
    yield Finding(reward, f"{name}: red/blue swap hurts", sum(plain.values()) > sum(other.values()), seen)


def _confidences(found: Sequence[Sequence[Detection]]) -> dict[str, float]:
    """Photograph -> the confidence in the class that is on it."""
    return {
        key: max((each.score for each in detections if each.label == LABELS[key]), default=0.0)
        for key, detections in zip(LABELS, found, strict=True)
    }


def _colors(reward: str, device: str) -> Iterator[Finding]:
    from flowbench.rewards.geneval import colors

    classifier = colors.load(place(device))
    yield Finding(reward, "colours run with QuickGELU", classifier.quick_gelu, classifier.architecture)
    scale = classifier.clip.logit_scale
    yield Finding(reward, "colours: the logit scale is 100", abs(scale - 100) < 1, f"{scale:.2f}")
    wanted = ("red", "green", "blue", "yellow")
    whole = Detection("sports ball", 1.0, (0.0, 0.0, 96.0, 96.0), numpy.ones((96, 96), dtype=bool))
    named = [classifier.name(Image.new("RGB", (96, 96), color), whole) for color in wanted]
    yield Finding(reward, "colours of flat patches", named == list(wanted), ", ".join(named))
