"""Pictures for checks: of several sizes, two for each prompt, with what each kind of reward asks for."""

from __future__ import annotations

import numpy
from PIL import Image, ImageDraw, ImageFont

from flowbench.types import Prompt, Sample


def sample_pictures() -> list[Sample]:
    """Six samples of three prompts in mixed order, the same on every call.

    Each prompt has text with a quotation and GenEval's `include` clauses of the vocabulary coco80; the pictures differ
    in size, in what is drawn on them and in how busy they are.
    """
    prompts = [_prompt("dog", "a photo of a dog", 1), _prompt("bus", "two buses", 2), _prompt("cat", "a cat", 1)]
    sizes = [(96, 96), (128, 96), (96, 160), (64, 64), (112, 112), (80, 144)]
    return [
        Sample(prompts[place % 3], _picture(size, place, "STOP" if place % 2 else "GO"), seed=place // 3)
        for place, size in enumerate(sizes)
    ]


def _prompt(label: str, words: str, count: int) -> Prompt:
    clause = {"class": label, "count": count}
    return Prompt(label, f'{words}, with a sign that says "STOP"', "counting", {"include": [clause]})


def _picture(size: tuple[int, int], seed: int, words: str) -> Image.Image:
    """Coloured noise, a disc and a word."""
    rng = numpy.random.default_rng(seed)
    width, height = size
    noise = rng.integers(0, 40 + 30 * seed, (height, width, 3)) + rng.integers(0, 60, 3)
    picture = Image.fromarray(noise.clip(0, 255).astype(numpy.uint8))
    draw = ImageDraw.Draw(picture)
    draw.ellipse(
        (width // 4, height // 4, width * 3 // 4, height * 3 // 4), fill=tuple(map(int, rng.integers(0, 255, 3)))
    )
    draw.text((4, height // 2 - 12), words, fill="white", font=ImageFont.load_default(24))
    return picture
