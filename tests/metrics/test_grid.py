"""Grid energy: closed forms of lattices, noise and edges, and lattices laid over a picture."""

from __future__ import annotations

import math

import numpy
import pytest
from PIL import Image, ImageDraw

from flowbench import metrics
from flowbench.metrics.grid import measure_grid
from flowbench.types import Prompt, Sample

DOWN, ACROSS = numpy.mgrid[:128, :128]


def sines(period):
    return 128 + 50 * numpy.sin(2 * numpy.pi * ACROSS / period) + 50 * numpy.sin(2 * numpy.pi * DOWN / period)


@pytest.mark.parametrize(
    ("lattice", "lags"),
    [
        (sines(16), {(0, 16), (16, 0)}),
        (100 + 50 * numpy.sin(2 * numpy.pi * DOWN / 32), {(32, 0)}),
        (255.0 * ((DOWN // 8 + ACROSS // 8) % 2), {(0, 8), (8, 0), (8, 8), (8, -8)}),
        (255.0 * ((DOWN % 16 == 0) | (ACROSS % 16 == 0)), {(16, 16), (16, -16), (0, 16), (16, 0)}),
    ],
    ids=["sines", "stripes", "checkerboard", "lines"],
)
def test_a_lattice_is_one_and_its_period_is_told(lattice, lags):
    found = measure_grid(lattice)
    assert found.energy == pytest.approx(1, abs=1e-9)
    down, across = found.lag
    assert (down, across) in {(a % 256, b) for a, b in lags} | {(8, 8), (0, 16)}


def test_lattices_finer_than_the_shortest_lag_are_found_at_a_multiple():
    for period in (2, 4, 8):
        assert measure_grid(sines(period) if period > 2 else 255.0 * ((DOWN + ACROSS) % 2)).energy > 0.99


def test_white_noise_is_near_the_expected_largest_of_so_many():
    for size in (64, 256):
        values = [measure_grid(numpy.random.default_rng(seed).normal(size=(size, size))).energy for seed in range(4)]
        expected = math.sqrt(2 * math.log(size**2)) / size
        assert numpy.mean(values) == pytest.approx(expected, rel=0.2)


def test_what_does_not_come_back_is_nothing():
    assert measure_grid(numpy.full((32, 48), 77.3)).energy == 0
    assert measure_grid(255.0 * (ACROSS > 40)).energy == pytest.approx(0, abs=1e-9)
    assert measure_grid(2.0 * ACROSS).energy == pytest.approx(0, abs=1e-9)


def test_two_equal_things_are_a_half():
    pair = numpy.zeros((128, 128))
    pair[30:40, 20:30] = pair[36:46, 70:80] = 200
    found = measure_grid(pair)
    assert found.energy == pytest.approx(0.5)
    assert found.lag == (6, 50)


def test_it_is_the_definition_computed_shift_by_shift():
    brightness = numpy.random.default_rng(3).integers(0, 255, (18, 22)).astype(float)
    slopes = [brightness - numpy.roll(brightness, 1, axis) for axis in (0, 1)]

    def r(down, across):
        return sum((slope * numpy.roll(slope, (down, across), (0, 1))).sum() for slope in slopes) / total

    total = sum((slope**2).sum() for slope in slopes)
    best = 0
    for down in range(10):
        for across in range(-11, 12):
            if math.hypot(down, across) >= 8:
                sides = [(math.floor(x / 2), math.ceil(x / 2)) for x in (down, across)]
                half = sum(r(a, b) for a in sides[0] for b in sides[1]) / 4
                best = max(best, r(down, across) - max(half, 0))
    assert measure_grid(brightness).energy == pytest.approx(best, rel=1e-9)


def test_a_lattice_over_a_picture_raises_it_with_its_strength():
    image = Image.radial_gradient("L").resize((128, 128)).convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 30, 90, 80), fill=(200, 80, 40))
    draw.polygon([(60, 100), (120, 60), (110, 120)], fill=(30, 90, 160))
    values = []
    for strength in (0, 8, 16, 32):
        lattice = strength * ((DOWN // 4 + ACROSS // 4) % 2)[..., None]
        pixels = (numpy.asarray(image) + lattice).clip(0, 255).astype(numpy.uint8)
        values.append(metrics.build("grid_energy")([Sample(Prompt("p", "x"), Image.fromarray(pixels))])[0].score.value)
    assert values == sorted(values)
    assert values[0] < 0.15 and values[-1] > 0.8


def test_a_picture_too_small_for_the_shortest_lag_is_unscored():
    small = Sample(Prompt("p", "x"), Image.new("RGB", (15, 40)))
    (measured,) = metrics.build("grid_energy")([small])
    assert "16 px" in measured.score.note
