"""The exact reader of the letters world: what a sign says, by our own strokes, without any network.

The board is the largest thing that differs from the grey of the background; what differs from the board's colour in
it is ink; every connected part of the ink is a letter, from left to right. Its soft mask, around its centre and in
units of its width and height, is compared (soft IoU) with templates of every letter. What is too unlike all of them is
read as `UNKNOWN`, never dropped.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy
from PIL import Image
from scipy import ndimage

from flowbench.images import to_array
from flowbench.letters.grammar import LETTERS
from flowbench.letters.world import BACKGROUND, BOARDS, DARK, LIGHT, SIZE, Sign, render

UNKNOWN = "?"
FOREGROUND_DISTANCE = 40.0
"""Euclidean RGB distance from the background, in levels of 255, above which a pixel is of the board."""
INK = 0.5
"""Share of ink above which a pixel is of a letter."""
LEAST_INK = 2.0
"""Fainter parts of the ink (sum of shares, in pixels) are specks of the decoder, not letters."""
GRID = 16
EXTENT = 2.2
"""A letter's mask is sampled on a GRID x GRID raster, EXTENT standard deviations of its ink to each side."""
LEAST_OVERLAP = 0.65
"""Soft IoU with the best letter below which nothing is recognised: blots reach .61, the world's own letters at least
.70, two different ones with one another at most .75."""
TEMPLATE_SCALES = (0.97, 1.2, 1.5)
TEMPLATE_OFFSETS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5), (0.25, 0.75))


def read(image: Image.Image) -> str:
    """The text of a sign; "" where no board or no letter is found."""
    return "".join(letter for letter, _ in letters(image))


def letters(image: Image.Image) -> list[tuple[str, float]]:
    """(letter or UNKNOWN, soft IoU with the best template) of each letter, from left to right."""
    ink = ink_of(to_array(image).astype(numpy.float32))
    labels, count = ndimage.label(ink > INK, structure=numpy.ones((3, 3)))  # corners touch: thin strokes are diagonal
    found = []
    for index in range(1, count + 1):
        mask = ink * ndimage.binary_dilation(labels == index) * ((labels == index) | (labels == 0))
        if mask.sum() >= LEAST_INK:
            found.append((float((mask * numpy.arange(mask.shape[1])).sum() / mask.sum()), mask))
    return [match(mask) for _, mask in sorted(found, key=lambda each: each[0])]


def ink_of(pixels: numpy.ndarray) -> numpy.ndarray:
    """(H, W, 3) levels -> (H, W) share of ink in each pixel, in [0, 1]: between the board's colour and the letters'."""
    distance = numpy.sqrt(((pixels - numpy.array(BACKGROUND, numpy.float32)) ** 2).sum(axis=-1))
    labels, count = ndimage.label(distance > FOREGROUND_DISTANCE)
    if not count:
        return numpy.zeros(pixels.shape[:2], numpy.float32)
    largest = 1 + int(ndimage.sum_labels(numpy.ones(labels.shape), labels, range(1, count + 1)).argmax())
    board = ndimage.binary_fill_holes(labels == largest)
    color = board_color(pixels, board)
    light, dark = numpy.array(LIGHT, numpy.float32), numpy.array(DARK, numpy.float32)
    towards = max((light, dark), key=lambda extreme: float(((extreme - color) ** 2).sum())) - color
    share = ((pixels - color) @ towards) / float(towards @ towards)
    return numpy.clip(share, 0, 1) * ndimage.binary_erosion(board)


def board_color(pixels: numpy.ndarray, board: numpy.ndarray) -> numpy.ndarray:
    """Of the pixels along the board's edge, a pixel inside, the median of those nearest to the commonest of BOARDS: a
    stroke may come close."""
    inner = ndimage.binary_erosion(board)
    edge = inner & ~ndimage.binary_erosion(inner)
    some = pixels[edge if edge.any() else board]
    known = numpy.array(list(BOARDS.values()), numpy.float32)
    nearest = ((some[:, None] - known) ** 2).sum(axis=-1).argmin(axis=1)
    return numpy.median(some[nearest == numpy.bincount(nearest).argmax()], axis=0)


def match(mask: numpy.ndarray) -> tuple[str, float]:
    """The letter whose templates the mask is most like, and its soft IoU (sum of minima over sum of maxima)."""
    shape = normalise(mask)
    templates = _templates()
    overlap = numpy.minimum(templates, shape).sum(axis=-1) / numpy.maximum(templates, shape).sum(axis=-1)
    best = overlap.max(axis=1)
    letter = int(best.argmax())
    return LETTERS[letter] if best[letter] >= LEAST_OVERLAP else UNKNOWN, float(best[letter])


def normalise(mask: numpy.ndarray) -> numpy.ndarray:
    """The mask around its centroid, EXTENT of its deviations to each side across and along: (GRID * GRID,)."""
    total = float(mask.sum())
    places = []
    for axis in (0, 1):
        along = mask.sum(axis=1 - axis)
        ticks = numpy.arange(len(along))
        centre = float((along * ticks).sum() / total)
        deviation = max(float(numpy.sqrt((along * (ticks - centre) ** 2).sum() / total)), 0.5)
        places.append(centre + numpy.linspace(-EXTENT, EXTENT, GRID) * deviation)
    return ndimage.map_coordinates(mask, numpy.meshgrid(*places, indexing="ij"), order=1, mode="constant").ravel()


@lru_cache(maxsize=1)
def _templates() -> numpy.ndarray:
    """(letters, templates of a letter, GRID * GRID)."""
    masks = []
    for letter, scale, (right, down) in product(LETTERS, TEMPLATE_SCALES, TEMPLATE_OFFSETS):
        picture = render(Sign(letter, "black", SIZE / 2 + right, SIZE / 2 + down, scale))
        masks.append(normalise(ink_of(to_array(picture).astype(numpy.float32))))
    return numpy.stack(masks).reshape(len(LETTERS), -1, GRID * GRID)
