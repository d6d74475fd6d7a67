"""Picture statistics against scipy, colorsys, PIL and values by hand."""

from __future__ import annotations

import colorsys
import math

import numpy
import pytest
from PIL import Image
from scipy import ndimage

from flowbench import metrics
from flowbench.metrics.picture_statistics import entropy_of_colors, luma, mean_saturation, share_of_edges
from flowbench.types import Prompt, Sample


@pytest.fixture
def noise():
    return numpy.random.default_rng(0).integers(0, 256, (23, 31, 3)).astype(numpy.uint8)


def flat(color, height=4, width=6):
    return numpy.full((height, width, 3), color, numpy.uint8)


def test_luma_is_pils():
    pixels = numpy.random.default_rng(1).integers(0, 256, (9, 9, 3)).astype(numpy.uint8)
    assert luma(pixels) == pytest.approx(numpy.asarray(Image.fromarray(pixels).convert("L")), abs=0.51)


@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.3])
def test_edges_are_those_of_scipys_sobel(noise, threshold):
    brightness = noise @ numpy.array([0.299, 0.587, 0.114])
    gradient = numpy.hypot(ndimage.sobel(brightness, 0), ndimage.sobel(brightness, 1))
    expected = (gradient > threshold * 1020).mean()
    assert 0.1 < expected < 1
    assert share_of_edges(noise, threshold) == expected


def test_a_step_is_two_columns_of_edge_if_it_is_high_enough():
    step = flat((100, 100, 100), 8, 20)
    step[:, 10:] = 126
    assert share_of_edges(step) == 2 / 20  # 26 > 25.5 levels
    step[:, 10:] = 125
    assert share_of_edges(step) == 0
    assert share_of_edges(flat(7, 1, 1)) == 0


def test_entropy_of_few_colours():
    assert entropy_of_colors(flat((3, 200, 90))) == 0
    two = flat((255, 255, 255))
    two[:, 3:] = 0
    assert entropy_of_colors(two) == 1
    two[:, 3] = 255  # shares 2/3 and 1/3
    assert entropy_of_colors(two) == pytest.approx(math.log2(3) - 2 / 3)
    assert entropy_of_colors(numpy.concatenate([flat(31), flat(0)])) == 0  # one bin
    assert entropy_of_colors(numpy.concatenate([flat(32), flat(31)])) == 1  # two


def test_entropy_of_every_bin_once_is_nine_bits():
    levels = numpy.arange(8) * 32
    every = numpy.stack(numpy.meshgrid(levels, levels, levels), -1).reshape(16, 32, 3).astype(numpy.uint8)
    assert entropy_of_colors(every) == 9


def test_saturation_is_colorsyss_and_pils(noise):
    by_hand = [colorsys.rgb_to_hsv(*(pixel / 255))[1] for pixel in noise.reshape(-1, 3)]
    assert mean_saturation(noise) == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-12)
    assert mean_saturation(noise) == pytest.approx(
        numpy.asarray(Image.fromarray(noise).convert("HSV"))[..., 1].mean() / 255, abs=1 / 255
    )
    assert [mean_saturation(flat(color)) for color in [(0, 0, 0), (9, 9, 9), (255, 0, 0), (200, 100, 150)]] == [
        0, 0, 1, 0.5
    ]  # fmt: skip


def test_pictures_of_other_modes_are_read_as_rgb():
    grey = Sample(Prompt("p", "grey"), Image.radial_gradient("L"))
    values = {name: metrics.build(name)([grey])[0].score.value for name in ("saturation", "color_entropy")}
    assert values["saturation"] == 0
    assert 2 < values["color_entropy"] <= 3  # 8 greys
