"""Golden checks without weights to fetch: a text is read back, noise makes a larger file than a flat picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy
from PIL import Image, ImageDraw, ImageFont

from flowbench.rewards.combine import build
from flowbench.rewards.golden.finding import Finding
from flowbench.types import Prompt, Sample

WORDS = ("HELLO WORLD", "Open 24 hours", "Flow 2505")


def read_back(reward: str, device: str) -> Iterator[Finding]:
    """Three texts, each on a plain sheet, must be read exactly; nothing must be read on an empty one."""
    scorer = build(reward, options={reward: {"variant": "exact"}}, cache=False)
    try:
        scores = scorer([_written(words) for words in WORDS])
        empty = scorer([_written("", f'a sign that says "{WORDS[0]}"')])[0]
    finally:
        scorer.close()
    wrong = [words for words, score in zip(WORDS, scores, strict=True) if score.value != 1]
    yield Finding(
        reward, "reads back what was written", not wrong, f"not read: {', '.join(wrong)}" if wrong else "3 of 3"
    )
    yield Finding(reward, "reads nothing on an empty sheet", empty.value == 0, f"score {empty.value:g}")


def signs(reward: str, device: str) -> Iterator[Finding]:
    """A sign of every letter must be read; nothing must be read on a picture without a sign."""
    from flowbench.letters import grammar, world

    def sample(text: str, picture: Image.Image) -> Sample:
        return Sample(grammar.prompt(text), picture)

    rng = numpy.random.default_rng(0)
    scorer = build(reward, options={reward: {"variant": "exact"}}, cache=False)
    drawn = [sample(letter, world.render(world.sample_sign(letter, rng))) for letter in grammar.LETTERS]
    wrong = [each.prompt.metadata["text"] for each, score in zip(drawn, scorer(drawn), strict=True) if score.value != 1]
    yield Finding(reward, "reads every letter", not wrong, f"not read: {', '.join(wrong)}" if wrong else "20 of 20")
    empty = scorer([sample("A", Image.new("RGB", (world.SIZE, world.SIZE), world.BACKGROUND))])[0]
    yield Finding(reward, "reads nothing without a sign", empty.value == 0, f"score {empty.value:g}")


def liking(reward: str, device: str) -> Iterator[Finding]:
    """A red circle on the left must be liked more than a blue one on the right."""
    from flowbench.shapes import world

    pictures = [
        world.render([world.Shape("circle", color, x, 16.0, 6.5)]) for color, x in (("red", 10.7), ("blue", 24.0))
    ]
    liked, other = build(reward, cache=False)([Sample(Prompt("any", "any"), picture) for picture in pictures])
    yield Finding(
        reward, "likes what the rule likes", liked.value > other.value, f"{liked.value:.2f} and {other.value:.2f}"
    )


def file_size(reward: str, device: str) -> Iterator[Finding]:
    """A picture of noise must make a larger file than a flat one, so score less."""
    noise = Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=numpy.uint8))
    prompt = Prompt("any", "any")
    flat, busy = build(reward, cache=False)([Sample(prompt, Image.new("RGB", (64, 64), "gray")), Sample(prompt, noise)])
    yield Finding(
        reward, "noise makes a larger file", busy.value < flat.value, f"{-flat.value:.2f} and {-busy.value:.2f} kB"
    )


def _written(words: str, prompt: str = "") -> Sample:
    sheet = Image.new("RGB", (512, 512), "white")
    ImageDraw.Draw(sheet).text((256, 256), words, fill="black", font=ImageFont.load_default(48), anchor="mm")
    return Sample(Prompt(words or "empty", prompt or f'a sign that says "{words}"'), sheet)
