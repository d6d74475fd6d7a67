"""Layouts, ranges and dtypes of pictures."""

from __future__ import annotations

import io

import numpy
import torch
from PIL import Image

from flowbench import images


def test_tensor_to_picture_and_back_is_exact_on_all_256_levels():
    levels = torch.arange(256).float().div(255).reshape(1, 1, 16, 16).repeat(2, 3, 1, 1)
    pictures = images.to_pil(levels)
    assert len(pictures) == 2 and pictures[0].size == (16, 16) and pictures[0].mode == "RGB"
    assert torch.equal(images.to_tensor(pictures), levels)


def test_to_pil_rounds_to_nearest_and_clamps():
    pixels = torch.tensor([-0.5, 0.49 / 255, 0.51 / 255, 1.7]).reshape(1, 1, 1, 4).repeat(1, 3, 1, 1)
    assert images.to_array(images.to_pil(pixels.half())[0])[0, :, 0].tolist() == [0, 0, 1, 255]


def test_channels_are_rgb_and_axes_are_not_swapped():
    pixels = torch.zeros(1, 3, 2, 3)
    pixels[0, 0, 0, 2] = 1  # red, first row, last column
    picture = images.to_pil(pixels)[0]
    assert picture.size == (3, 2) and picture.getpixel((2, 0)) == (255, 0, 0)
    assert numpy.asarray(picture).sum() == 255


def test_to_array_makes_rgb_of_any_mode():
    assert images.to_array(Image.new("L", (2, 1), 7)).tolist() == [[[7, 7, 7], [7, 7, 7]]]
    assert images.to_array(Image.new("RGBA", (1, 1), (1, 2, 3, 4))).tolist() == [[[1, 2, 3]]]


def test_png_is_lossless():
    picture = Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=numpy.uint8))
    again = Image.open(io.BytesIO(images.png_bytes(picture)))
    assert numpy.array_equal(numpy.asarray(again), numpy.asarray(picture))


def test_grid_places_pictures_by_row():
    red, blue = Image.new("RGB", (2, 3), "red"), Image.new("RGB", (2, 3), "blue")
    sheet = images.grid([[red, blue], [blue]], scale=2, gap=1)
    assert sheet.size == (1 + 2 * (4 + 1), 1 + 2 * (6 + 1))
    assert [sheet.getpixel(at) for at in ((1, 1), (6, 1), (1, 8), (6, 8), (0, 0), (5, 1))] == [
        (255, 0, 0), (0, 0, 255), (0, 0, 255), (255, 255, 255), (255, 255, 255), (255, 255, 255),
    ]  # fmt: skip
