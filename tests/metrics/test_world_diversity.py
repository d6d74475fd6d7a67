"""Colours and layouts of the built-in world, on rendered scenes whose numbers are computed by hand."""

from __future__ import annotations

import math

import pytest

from flowbench import metrics
from flowbench.metrics.world_diversity import asked, centres, entropy, open_colors, spread_of
from flowbench.shapes.detector import detect
from flowbench.shapes.world import Shape, render
from flowbench.types import Detection, Prompt, Sample


def prompt(*include, name="p"):
    return Prompt(name, "a photo", "tag", {"include": list(include)})


def scene(*objects):
    """(kind, colour, x, y) each, in pixels of 32."""
    return render([Shape(kind, color, x, y, 5.5) for kind, color, x, y in objects])


CIRCLE, SQUARE = {"class": "circle", "count": 1}, {"class": "square", "count": 1}


def test_entropy_in_bits():
    assert entropy([5]) == 0
    assert entropy([3, 3]) == 1
    assert entropy([1, 0, 1, 2]) == 1.5
    assert entropy([7] * 10) == pytest.approx(math.log2(10))


def test_colours_are_pooled_over_the_prompts_that_leave_them_open():
    """Two red, one blue, one green of those asked for: 1.5 bits. Of the star and the pink square nobody spoke, and the
    red square has its colour from the prompt."""
    samples = [
        Sample(prompt(CIRCLE, name="a"), scene(("circle", "red", 8, 8), ("star", "yellow", 23, 23))),
        Sample(prompt(CIRCLE, name="a"), scene(("circle", "blue", 8, 8))),
        Sample(prompt(CIRCLE, SQUARE, name="b"), scene(("circle", "red", 8, 8), ("square", "green", 23, 23))),
        Sample(prompt({**SQUARE, "color": "red"}, name="c"), scene(("square", "red", 8, 8))),
        Sample(prompt(CIRCLE, name="d"), scene(("square", "pink", 8, 8))),
    ]
    (measured,) = metrics.build("object_color_entropy")(samples)
    assert measured.score.details == {"colors": {"blue": 1, "green": 1, "red": 2}}
    assert measured.score.value == 1.5
    assert (measured.prompt_id, measured.index) == (None, None)


def test_of_a_kind_the_surest_count_and_no_more_than_asked_for():
    found = [Detection("circle", score, (0, 0, 1, 1), color=color) for score, color in ((0.9, "red"), (0.8, "blue"))]
    assert open_colors(prompt(CIRCLE), found) == ["red"]
    assert open_colors(prompt({**CIRCLE, "count": 2}), found) == ["red", "blue"]
    assert open_colors(prompt({**CIRCLE, "count": 3}), found) == ["red", "blue"]
    assert open_colors(prompt({**CIRCLE, "color": "red"}), found) == []
    assert asked(prompt(CIRCLE, {**CIRCLE, "count": 2}, {"class": "dog", "count": 1})) == {"circle": 3}


def test_layout_of_one_object_at_two_places():
    """Centres 8 px apart of 32: variance with one degree of freedom .25^2 / 2."""
    samples = [Sample(prompt(CIRCLE), scene(("circle", color, x, 16))) for color, x in (("red", 12), ("blue", 20))]
    (measured,) = metrics.build("layout_diversity")(samples)
    assert measured.score.value == pytest.approx(0.25 / math.sqrt(2), abs=1e-9)
    assert (measured.prompt_id, measured.score.details) == ("p", {"pictures": 2})


def test_one_layout_is_no_diversity_whatever_the_colours():
    places = [scene(("circle", color, 8, 8), ("square", "pink", 24, 22)) for color in ("red", "blue", "white")]
    (measured,) = metrics.build("layout_diversity")([Sample(prompt(CIRCLE, SQUARE), each) for each in places])
    assert measured.score.value == 0


def test_spread_by_hand():
    """Circle: x of 0, .2, .4 has the variance .04; square, on two pictures: y .5 apart, .125. Root of their mean."""
    pictures = [
        {"circle": [(0.0, 0.5)], "square": [(0.5, 0.0)]},
        {"circle": [(0.2, 0.5)]},
        {"circle": [(0.4, 0.5)], "square": [(0.5, 0.5)]},
    ]
    assert spread_of(pictures) == pytest.approx(math.sqrt((0.04 + 0.125) / 2))
    assert spread_of([pictures[0], pictures[1]]) == pytest.approx(math.sqrt(0.02))  # the square is on one of them
    assert math.isnan(spread_of([pictures[0], {}]))
    assert spread_of([{"circle": [(0.0, 0.0)]}, {"circle": [(1.0, 1.0)]}]) == 1  # the most there is


def test_the_number_of_pictures_moves_no_expectation():
    """Three places in equal shares: the mean over all pairs of pictures is the variance over many, not half of it."""
    places = [{"circle": [(x, 0.5)]} for x in (0.2, 0.5, 0.8)]
    pairs = [spread_of([a, b]) ** 2 for a in places for b in places]
    assert sum(pairs) / 9 == pytest.approx(0.06)  # the population's: (.09 + 0 + .09) / 3


def test_several_of_a_kind_are_told_apart_by_x_then_y():
    two = {**CIRCLE, "count": 2}
    image = scene(("circle", "red", 24, 8), ("circle", "red", 8, 24))
    found = centres(asked(prompt(two)), detect(image), image)
    assert found == {"circle": [pytest.approx((0.25, 0.75)), pytest.approx((0.75, 0.25))]}
    swapped = scene(("circle", "blue", 8, 24), ("circle", "white", 24, 8))
    assert spread_of([found, centres({"circle": 2}, detect(swapped), swapped)]) == 0
    assert centres({"circle": 3}, detect(image), image) == {}  # one is missing: which?
    above = [Detection("circle", 0.9, (4, y, 6, y + 2)) for y in (20, 2)]
    assert centres({"circle": 2}, above, image)["circle"][0][1] == 3 / 32


def test_what_was_not_found_is_unscored_with_the_reason():
    twice = [Sample(prompt(CIRCLE), scene(("square", "red", 8, 8)))] * 2
    (layout,) = metrics.build("layout_diversity")(twice)
    assert math.isnan(layout.score.value)
    assert "found nothing that the prompt asks for on two of its pictures" in layout.score.note
    (colors,) = metrics.build("object_color_entropy")(twice)
    assert math.isnan(colors.score.value) and "found 0 of them" in colors.score.note
    (plain,) = metrics.build("object_color_entropy")([Sample(Prompt("x", "a dog"), each.image) for each in twice])
    assert not plain.score.is_scored


def test_a_collapsed_policy_is_told_from_a_varied_one():
    """Every true scene of the test split against one layout in red."""
    import numpy

    from flowbench import prompts
    from flowbench.shapes.world import sample_scene

    rng = numpy.random.default_rng(0)
    some = prompts.load("shapes", "test")[::9]
    varied, same = [], []
    for each in some:
        fixed = sample_scene(each.metadata, rng)
        for _ in range(3):
            varied.append(Sample(each, render(sample_scene(each.metadata, rng))))
            same.append(Sample(each, render([Shape(o.kind, "red", o.x, o.y, o.radius) for o in fixed])))
    entropies = [metrics.build("object_color_entropy")(samples)[0].score.value for samples in (varied, same)]
    assert entropies[0] > 2.8 and entropies[1] == 0
    layouts = [[each.score.value for each in metrics.build("layout_diversity")(samples)] for samples in (varied, same)]
    assert sum(layouts[0]) / len(some) > 0.15 and max(layouts[1]) == 0
