"""The exact detector of the built-in world: which shapes of which colours are on a picture, and where.

Background is the median of the border; whatever differs from it is foreground; every connected component is one
object. Its soft mask, moved to its centroid and scaled by its area, is compared (soft IoU) with rendered templates of
every kind. A component that is too unlike all of them is returned as `unknown`, never dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product

import numpy
from PIL import Image
from scipy import ndimage

from flowbench.images import border_color, to_array
from flowbench.shapes.grammar import COLORS, KINDS
from flowbench.shapes.world import SIZE, Shape, render
from flowbench.types import Detection

UNKNOWN = "unknown"
FOREGROUND_DISTANCE = 40.0
"""Euclidean RGB distance from the background, in levels of 255, above which a pixel is foreground."""
LEAST_AREA = 6
"""Smaller components (in pixels) are specks of the decoder, not objects."""
GRID = 20
EXTENT = 2.1
"""The normalised mask is sampled on a GRID x GRID raster over +-EXTENT mean radii (sqrt(area / pi))."""
TEMPLATE_RADII = (4.9, 5.8, 6.8)
TEMPLATE_OFFSETS = ((0.0, 0.0), (0.5, 0.0), (0.25, 0.5), (0.5, 0.5), (0.75, 0.25))

OVERLAP_POSSIBLE, OVERLAP_SURE = 0.70, 0.86
"""Soft IoU at which the confidence is 0.3 and 0.9, GenEval's two thresholds. Different kinds overlap by up to 0.84 with
one another and clean renders by at least 0.89 with their own kind: above SURE no other kind fits as well; below
POSSIBLE the component looks no more like its best kind than kinds look like one another."""
POSSIBLE, SURE = 0.3, 0.9

COLOR_NAMES = tuple(COLORS)
_PALETTE = numpy.array(list(COLORS.values()), dtype=numpy.float32)


def build() -> Callable[[Sequence[Image.Image]], list[list[Detection]]]:
    """The detector as the GenEval reward wants it: pictures in, one list of detections each out."""
    return lambda images: [detect(image) for image in images]


def detect(image: Image.Image) -> list[Detection]:
    """All objects of one picture, most confident first; labels are kinds or `unknown`, `color` is always set."""
    pixels = to_array(image).astype(numpy.float32)
    background = border_color(pixels)
    distance = numpy.sqrt(((pixels - background) ** 2).sum(axis=-1))
    labels, count = ndimage.label(distance > FOREGROUND_DISTANCE)
    found = []
    for index in range(1, count + 1):
        component = labels == index
        if component.sum() >= LEAST_AREA:
            found.append(_describe(pixels, background, component))
    return sorted(found, key=lambda detection: -detection.score)


def _describe(pixels: numpy.ndarray, background: numpy.ndarray, component: numpy.ndarray) -> Detection:
    inner = ndimage.binary_erosion(component)
    core = pixels[inner if inner.sum() >= 4 else component]
    color = numpy.median(core, axis=0)
    name = COLOR_NAMES[int(((_PALETTE - color) ** 2).sum(axis=1).argmin())]
    mask = soft_mask(pixels, background, color, component)
    overlaps = match(mask)
    best = int(overlaps.argmax())
    confidence, label = calibrate(float(overlaps[best])) * purity(core, color), KINDS[best]
    if confidence <= POSSIBLE:  # it is there, so it must count as something: unnamed, and the surer for that
        confidence, label = 1 - confidence, UNKNOWN
    rows, columns = numpy.nonzero(component)
    box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
    return Detection(label, confidence, box, component, name)


def calibrate(overlap: float) -> float:
    """Soft IoU with the best kind -> confidence in [0, 1]: linear through (POSSIBLE, 0.3) and (SURE, 0.9)."""
    slope = (SURE - POSSIBLE) / (OVERLAP_SURE - OVERLAP_POSSIBLE)
    return min(1.0, max(0.0, POSSIBLE + slope * (overlap - OVERLAP_POSSIBLE)))


def soft_mask(
    pixels: numpy.ndarray, background: numpy.ndarray, color: numpy.ndarray, component: numpy.ndarray
) -> numpy.ndarray:
    """How much of each pixel the object covers, in [0, 1]: the projection on the line from background to its colour."""
    direction = color - background
    alpha = ((pixels - background) @ direction) / max(float(direction @ direction), 1.0)
    return numpy.clip(alpha, 0, 1) * ndimage.binary_dilation(component)


def match(mask: numpy.ndarray) -> numpy.ndarray:
    """Soft IoU (sum of minima over sum of maxima) of the normalised mask with the best template of each kind."""
    shape = normalise(mask)
    templates = _templates()
    overlap = numpy.minimum(templates, shape).sum(axis=-1) / numpy.maximum(templates, shape).sum(axis=-1)
    return overlap.max(axis=1)


def normalise(mask: numpy.ndarray) -> numpy.ndarray:
    """The mask around its centroid in units of its mean radius, bilinearly sampled: (GRID * GRID,)."""
    area = max(float(mask.sum()), 1e-6)
    rows, columns = numpy.indices(mask.shape)
    centre = ((mask * rows).sum() / area, (mask * columns).sum() / area)
    ticks = numpy.linspace(-EXTENT, EXTENT, GRID) * math.sqrt(area / math.pi)
    where = numpy.meshgrid(centre[0] + ticks, centre[1] + ticks, indexing="ij")
    return ndimage.map_coordinates(mask, where, order=1, mode="constant").ravel()


@lru_cache(maxsize=1)
def _templates() -> numpy.ndarray:
    """(kinds, templates of a kind, GRID * GRID)."""
    masks = []
    for kind, radius, (right, down) in product(KINDS, TEMPLATE_RADII, TEMPLATE_OFFSETS):
        picture = render([Shape(kind, "white", SIZE / 2 + right, SIZE / 2 + down, radius)])
        pixels = to_array(picture).astype(numpy.float32)
        background = pixels[0, 0]
        whiteness = (pixels - background).mean(axis=-1) / (250 - background.mean())
        masks.append(normalise(numpy.clip(whiteness, 0, 1)))
    return numpy.stack(masks).reshape(len(KINDS), -1, GRID * GRID)


def purity(core: numpy.ndarray, color: numpy.ndarray) -> float:
    """Fraction of the object's inner pixels whose colour is the object's: 1 for a flat shape, less for a mixed one."""
    return float((numpy.sqrt(((core - color) ** 2).sum(axis=1)) < 60).mean())
