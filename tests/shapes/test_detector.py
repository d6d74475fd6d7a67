"""The detector against ground truth: renders are read right, wrong prompts are refused, oddities are never dropped."""

from __future__ import annotations

import numpy
import pytest
from PIL import Image, ImageDraw

from flowbench.rewards.geneval.rule import judge
from flowbench.shapes import detector, grammar, world
from flowbench.shapes.world import Shape

COUNT = 250


def scenes(tag, count=COUNT):
    rng = numpy.random.default_rng([7, grammar.TAGS.index(tag)])
    pool = [prompt for split in ("train", "test") for prompt in grammar.prompts(split) if prompt.tag == tag]
    for _ in range(count):
        prompt = pool[int(rng.integers(len(pool)))]
        yield prompt, world.sample_scene(prompt.metadata, rng)


def verdict(image, metadata):
    return judge(detector.detect(image), metadata, lambda detection: detection.color)


@pytest.mark.parametrize("tag", grammar.TAGS)
def test_renders_are_right_and_wrong_prompts_are_not(tag):
    right, wrong, tried = 0, 0, 0
    previous = None
    for prompt, scene in scenes(tag):
        image = world.render(scene)
        right += verdict(image, prompt.metadata).exclusive
        if previous is not None and sorted(map(str, previous["include"])) != sorted(
            map(str, prompt.metadata["include"])
        ):
            wrong += verdict(image, previous).correct
            tried += 1
        previous = prompt.metadata
    assert right / COUNT > 0.995
    assert tried > COUNT / 2 and wrong / tried < 0.03


def test_every_kind_in_every_colour_at_its_place():
    for kind in grammar.KINDS:
        for color in grammar.COLORS:
            (found,) = detector.detect(world.render([Shape(kind, color, 13.3, 18.6, 5.5)]))
            assert (found.label, found.color) == (kind, color)
            assert found.score > 0.9
            x0, y0, x1, y1 = found.box
            assert x0 < 13.3 < x1 and y0 < 18.6 < y1 and x1 - x0 < 15


def test_what_is_no_known_shape_is_unknown_and_counts():
    image = Image.new("RGB", (32, 32), world.BACKGROUND)
    ImageDraw.Draw(image).line([(3, 4), (28, 9)], fill=(220, 30, 30), width=2)
    (found,) = detector.detect(image)
    assert found.label == detector.UNKNOWN and found.score > 0.3 and found.color == "red"
    metadata = {"tag": "single_object", "include": [{"class": "circle", "count": 1}]}
    with_circle = world.render([Shape("circle", "blue", 20, 22, 6)])
    ImageDraw.Draw(with_circle).line([(3, 4), (28, 9)], fill=(220, 30, 30), width=2)
    result = verdict(with_circle, metadata)
    assert result.correct and not result.exclusive and result.extras == 1


def test_a_mixed_colour_lowers_the_confidence():
    pure = world.render([Shape("square", "red", 16, 16, 7)])
    mixed = pure.copy()
    mixed.paste(grammar.COLORS["blue"], (11, 11, 21, 13))
    assert detector.detect(mixed)[0].score < detector.detect(pure)[0].score


def test_an_empty_picture_has_no_objects():
    assert detector.detect(Image.new("RGB", (32, 32), world.BACKGROUND)) == []
    assert detector.detect(Image.new("RGB", (32, 32), "white")) == []


def test_confidence_meets_geneval_thresholds():
    assert detector.calibrate(detector.OVERLAP_POSSIBLE) == pytest.approx(0.3)
    assert detector.calibrate(detector.OVERLAP_SURE) == pytest.approx(0.9)
    assert detector.calibrate(0.2) == 0 and detector.calibrate(0.99) == 1


def test_scenes_hold_what_was_asked_and_shapes_do_not_touch():
    for prompt, scene in scenes("counting", 60):
        clause = prompt.metadata["include"][0]
        assert [shape.kind for shape in scene] == [clause["class"]] * clause["count"]
        for index, a in enumerate(scene):
            for b in scene[index + 1 :]:
                apart = max(abs(a.x - b.x), abs(a.y - b.y)) - 1.1 * (a.radius + b.radius)
                assert apart >= world.GAP - 1e-9
