"""Places and colours of pictures, by hand."""

from __future__ import annotations

import math

import numpy
import pytest
from PIL import Image

from flowbench import metrics
from flowbench.metrics.placement import bits, occupancy, unshared
from flowbench.types import Prompt, Sample

GREY, RED, BLUE = (128, 128, 128), (255, 0, 0), (0, 0, 255)


def picture(*boxes, size=32, ground=GREY):
    """Boxes (left, top, right, bottom, colour) in fields of a 8 x 8 grid."""
    sheet = Image.new("RGB", (size, size), ground)
    for left, top, right, bottom, color in boxes:
        sheet.paste(color, tuple(edge * size // 8 for edge in (left, top, right, bottom)))
    return sheet


def sample(image, name="p"):
    return Sample(Prompt(name, "a photo"), image)


@pytest.mark.parametrize("size", [32, 64])
def test_what_stands_out_in_two_of_the_fields(size):
    fields, color = occupancy(numpy.asarray(picture((2, 3, 4, 4, RED), size=size)))
    expected = numpy.zeros((8, 8))
    expected[3, 2:4] = 0.5
    assert fields == pytest.approx(expected, abs=1e-6)
    assert color == pytest.approx((1, 0, 0))


def test_the_mean_colour_is_of_what_stands_out_alone():
    _, color = occupancy(numpy.asarray(picture((1, 1, 2, 2, RED), (4, 1, 5, 2, BLUE))))
    assert color == pytest.approx((0.5, 0, 0.5))


def test_what_is_faint_is_ground_and_what_is_clear_counts_fully():
    """30 levels are half of 60, 29 are nothing, 100 are all."""
    for step, weight in ((29, 0), (30, 0.5), (100, 1)):
        pixels = numpy.full((32, 32, 3), 100, numpy.uint8)
        pixels[8:12, 8:12] += step
        pixels[20:24, 20:24] += 100
        assert occupancy(pixels)[0][2, 2] == pytest.approx(weight / (1 + weight))


def test_a_flat_picture_has_nothing_anywhere():
    fields, color = occupancy(numpy.asarray(picture(ground=RED)))
    assert not fields.any() and not color.any()


def test_overlap_of_pairs():
    """Equal maps share all, disjoint ones nothing, and two that have one of two fields in common a half."""
    one, other, both = (numpy.zeros((8, 8)) for _ in range(3))
    one[0, 0], other[7, 7], both[0, 0], both[7, 7] = 1, 1, 0.5, 0.5
    assert unshared([one, one]) == 0
    assert unshared([one, other]) == 1
    assert unshared([one, both]) == 0.5
    assert unshared([one, other, both]) == pytest.approx((1 + 0.5 + 0.5) / 3)
    nothing = numpy.zeros((8, 8))
    assert unshared([one, nothing]) == 1
    assert unshared([nothing, nothing]) == 0
    assert unshared([one, nothing, nothing]) == pytest.approx(2 / 3)


def test_placement_per_prompt():
    left, right = picture((1, 3, 3, 5, RED)), picture((5, 3, 7, 5, BLUE))
    samples = [sample(left, "a"), sample(left, "a"), sample(left, "b"), sample(right, "b"), sample(left, "c")]
    found = {each.prompt_id: each.score for each in metrics.build("placement_diversity")(samples)}
    assert (found["a"].value, found["b"].value) == (0, 1)
    assert "this one has 1. Make 2 or more" in found["c"].note


def test_entropy_of_mean_colours():
    assert bits(numpy.array([[1.0, 0, 0]] * 5)) == 0
    assert bits(numpy.array([[1.0, 0, 0], [0, 0, 1.0]])) == 1
    corners = numpy.array([[r, g, b] for r in (0, 0.5, 1) for g in (0, 0.5, 1) for b in (0, 0.5, 1)])
    assert bits(corners) == pytest.approx(math.log2(27))


def test_the_palette_of_a_set():
    """Two red ones and a blue one, wherever they are; the empty one has no colour."""
    drawn = [picture((1, 1, 2, 2, RED)), picture((5, 5, 7, 7, RED)), picture((2, 2, 5, 5, BLUE)), picture()]
    (measured,) = metrics.build("palette_entropy")([sample(image, str(place)) for place, image in enumerate(drawn)])
    assert measured.score.value == pytest.approx(math.log2(3) - 2 / 3)
    assert measured.score.details == {"pictures": 3}
    (alone,) = metrics.build("palette_entropy")([sample(drawn[0]), sample(drawn[3])])
    assert "compares pictures with something on them, and found 1" in alone.score.note
