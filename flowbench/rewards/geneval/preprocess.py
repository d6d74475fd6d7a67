"""What GenEval's detector sees: the picture fitted into 1333 x 800, normalised, padded to whole patches.

Source: the test pipeline of mmdet 2.x, with which GenEval was published: OpenCV's bilinear resize on 8-bit pixels,
without antialias. OpenCV is no dependency here, so its fixed-point arithmetic is written out; it is bit-equal to
`cv2.resize(..., INTER_LINEAR)` of OpenCV 4.10, 4.11 and 5.0. (mmdet 3 resizes in floating point, unrounded.)

Two details differ for pictures that are not square, none for square ones, which become 800 x 800. mmdet 2 padded with
grey 128 before it normalised; mmdet 3, and we, pad with 0 after it. And no EXIF tag turns the picture here: a sample's
picture is taken as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy
import torch
from PIL import Image

from flowbench.images import to_array
from flowbench.rewards.networks import in_batches

LIMIT = (1333, 800)
"""Most pixels of the longer and of the shorter side."""
DIVISOR = 32
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
"""Of ImageNet, red, green, blue, in levels of 255."""

_ONE = 2048
"""OpenCV weighs two neighbours with 11-bit integers that sum to this (INTER_RESIZE_COEF_SCALE)."""


def fitted_size(width: int, height: int, limit: tuple[int, int] = LIMIT) -> tuple[int, int]:
    """(width, height) after the largest scaling, up or down, that stays within `limit`; as mmcv's `rescale_size`."""
    scale = min(max(limit) / max(width, height), min(limit) / min(width, height))
    return int(width * scale + 0.5), int(height * scale + 0.5)


def same_size_batches(sizes: Sequence[tuple[int, int]], batch_size: int) -> Iterator[Sequence[int]]:
    """Places of equal sizes, at most `batch_size` at a time: nobody is padded to a neighbour's size."""
    groups: dict[tuple[int, int], list[int]] = {}
    for place, size in enumerate(sizes):
        groups.setdefault(size, []).append(place)
    for places in groups.values():
        yield from in_batches(places, batch_size)


def prepare(image: Image.Image, size: tuple[int, int]) -> torch.Tensor:
    """A picture, and its fitted (width, height) -> (3, H, W) float32, normalised; H and W are multiples of 32."""
    resized = resize(to_array(image), *size)
    pixels = (torch.from_numpy(resized).float() - torch.tensor(MEAN)) / torch.tensor(STD)
    width, height = size
    right, bottom = -width % DIVISOR, -height % DIVISOR
    return torch.nn.functional.pad(pixels.permute(2, 0, 1), (0, right, 0, bottom))


def resize(pixels: numpy.ndarray, width: int, height: int) -> numpy.ndarray:
    """(H, W, C) uint8 -> (height, width, C) uint8, bit-equal to OpenCV's INTER_LINEAR."""
    left, right, near, far = _taps(pixels.shape[1], width, clamp=True)
    whole = pixels.astype(numpy.int32)
    rows = (whole[:, left] * near[:, None] + whole[:, right] * far[:, None]) >> 4
    top, bottom, near, far = _taps(pixels.shape[0], height, clamp=False)
    mixed = (rows[top] * near[:, None, None] >> 16) + (rows[bottom] * far[:, None, None] >> 16)
    return ((mixed + 2) >> 2).astype(numpy.uint8)


def _taps(size: int, new: int, *, clamp: bool) -> tuple[numpy.ndarray, ...]:
    """For each new pixel its two neighbours and their integer weights. Only columns have their weights clamped."""
    scale = 1 / (new / size)  # OpenCV's order of division
    position = ((numpy.arange(new) + 0.5) * scale - 0.5).astype(numpy.float32)
    first = numpy.floor(position).astype(numpy.int64)
    share = position - first.astype(numpy.float32)
    if clamp:
        share[(first < 0) | (first >= size - 1)] = 0
    near, far = (numpy.rint(part * numpy.float32(_ONE)).astype(numpy.int32) for part in (1 - share, share))
    return first.clip(0, size - 1), (first + 1).clip(0, size - 1), near, far
