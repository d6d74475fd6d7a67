"""The exact reader of the letters world behind the readers' signature: no network, only the world's twenty letters."""

from __future__ import annotations

from statistics import fmean

import numpy
from PIL import Image

from flowbench.letters import reader
from flowbench.letters.grammar import LETTERS
from flowbench.rewards.ocr.lines import Line
from flowbench.rewards.ocr.readers import Reader


def build() -> Reader:
    """A line's confidence is the mean overlap of its letters with their templates; a letter like none is a `?`."""

    def look(picture: numpy.ndarray) -> list[Line]:
        found = reader.letters(Image.fromarray(picture))
        if not found:
            return []
        height, width = picture.shape[:2]
        corners = ((0.0, 0.0), (float(width), 0.0), (float(width), float(height)), (0.0, float(height)))
        return [Line("".join(letter for letter, _ in found), fmean(overlap for _, overlap in found), corners)]

    return Reader(look, LETTERS)
