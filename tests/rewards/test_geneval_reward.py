"""The GenEval rewards on pictures: values, parts, notes, prices, and what they refuse."""

from __future__ import annotations

import numpy
import pytest

from flowbench import rewards
from flowbench.errors import ConfigError, RewardError, UnknownName
from flowbench.rewards.geneval import detectors
from flowbench.shapes import grammar, world
from flowbench.types import Detection, Prompt, Sample

# block_samples: a right red square; two objects of which one is missing; a right place; no red square but a circle;
# both objects and a blob; the wrong place
PARTIAL = [1.0, 0.5, 1.0, 0.0, 1.0, 2 / 3]
STRICT = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]
EXTRAS = [0, 0, 0, 1, 1, 0]


def build(name, blocks, **options):
    return rewards.build(name, vocabulary="shapes", options={name: {"detector": blocks, **options}})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("geneval", PARTIAL),
        ("geneval_strict", STRICT),
        ("geneval_official", STRICT),
        ("geneval_flowgrpo", [1.0, 0.5, 1.0, 0.0, 1.0, 0.75]),
    ],
)
def test_values(name, values, blocks, block_samples):
    assert [score.value for score in build(name, blocks)(block_samples)] == values


def test_parts_and_notes(blocks, block_samples):
    scores = build("geneval", blocks)(block_samples)
    assert scores[4].parts == {"official": 1.0, "strict": 1.0, "exclusive": 0.0, "partial": 1.0, "extras": 1.0}
    assert [score.parts["extras"] for score in scores] == EXTRAS
    assert [score.note for score in scores] == [
        "",
        "expected circle>=1, found 0",
        "",
        "expected square>=1, found 0",
        "1 more object than asked for",
        "expected circle left of square, found right of it",
    ]


@pytest.mark.parametrize(("price", "fourth"), [(0.0, 1.0), (0.4, 0.6), (1.0, 0.0)])
def test_each_extra_object_costs_its_price(price, fourth, blocks, block_samples):
    scores = build("geneval_official", blocks, extra_price=price)(block_samples)
    assert [score.value for score in scores] == [1.0, 0.0, 1.0, 0.0, fourth, 0.0]
    assert scores[4].parts["official"] == 1.0


def test_the_price_is_paid_once_for_each_extra(keep_registry, monkeypatch):
    crowd = [Detection("square", 0.95, (0, 0, 4, 4), color="red")] + [Detection("unknown", 0.9, (9, 9, 12, 12))] * 3
    monkeypatch.setattr(detectors.registry, "_targets", {"crowd": lambda: lambda images: [crowd for _ in images]})
    sample = Sample(Prompt("p", "a square", "single_object", {"include": [{"class": "square", "count": 1}]}), None)
    (score,) = build("geneval", "crowd", extra_price=0.4)([sample])
    assert score.value == pytest.approx(0.6**3)


@pytest.mark.parametrize(
    ("share", "one_missing", "misplaced"), [(0.0, 1 / 2, 2 / 3), (0.75, 1 / 8, 1 / 6), (1.0, 0.0, 0.0)]
)
def test_the_strict_share_is_earned_by_right_pictures_only(share, one_missing, misplaced, blocks, block_samples):
    scores = build("geneval", blocks, strict_share=share)(block_samples)
    expected = [1.0, one_missing, 1.0, 0.0, 1.0, misplaced]
    assert [score.value for score in scores] == pytest.approx(expected, abs=1e-15)
    assert [score.parts["partial"] for score in scores] == PARTIAL


@pytest.mark.parametrize("option", ["extra_price", "strict_share"])
def test_an_option_outside_its_range_is_refused(option, blocks):
    with pytest.raises(ConfigError, match=rf"{option} is 1\.5"):
        build("geneval", blocks, **{option: 1.5})


def test_the_prompts_tag_serves_when_the_metadata_has_none(keep_registry, monkeypatch):
    doubtful = [Detection("star", 0.5, (0, 0, 4, 4))]
    monkeypatch.setattr(detectors.registry, "_targets", {"doubtful": lambda: lambda images: [doubtful for _ in images]})
    metadata = {"include": [{"class": "star", "count": 1}]}
    reward = build("geneval_official", "doubtful")
    single, counting = (Sample(Prompt("p", "a star", tag, metadata), None) for tag in ("single_object", "counting"))
    assert [score.value for score in reward([single, counting])] == [1.0, 0.0]


def test_a_prompt_without_clauses_is_unscored_among_scored_ones(blocks, block_samples, draw_blocks):
    plain = Sample(Prompt("poem", "a poem"), draw_blocks())
    scores = build("geneval", blocks)([block_samples[0], plain, block_samples[5]])
    assert [score.is_scored for score in scores] == [True, False, True]
    assert "prompt 'poem' has no `include` clauses" in scores[1].note
    assert not build("geneval", blocks)([plain])[0].is_scored


def test_prompts_of_another_vocabulary_are_refused(draw_blocks):
    dog = Prompt("dog", "a dog", "single_object", {"include": [{"class": "dog", "count": 1}]})
    with pytest.raises(RewardError, match="prompt 'dog' asks for 'dog', which the detector 'shapes' does not know"):
        rewards.build("geneval")([Sample(dog, draw_blocks())])
    with pytest.raises(RewardError, match="'shapes' knows the vocabulary 'shapes', but the prompts use 'coco80'"):
        rewards.build("geneval", vocabulary="coco80", options={"geneval": {"detector": "shapes"}})


def test_a_vocabulary_without_a_detector_says_so():
    with pytest.raises(RewardError, match="no detector for the vocabulary 'coco80' yet; those with one: shapes"):
        rewards.build("geneval", vocabulary="coco80")
    with pytest.raises(UnknownName, match="unknown detector 'mask2former'"):
        build("geneval", "mask2former")


def test_a_detector_without_colours_is_refused_where_a_colour_matters(keep_registry, monkeypatch, block_samples):
    gray = lambda images: [[Detection("square", 0.95, (0, 0, 4, 4))] for _ in images]  # noqa: E731
    monkeypatch.setattr(detectors.registry, "_targets", {"gray": lambda: gray})
    with pytest.raises(RewardError, match="the detector gave no colour for a square"):
        build("geneval", "gray")([block_samples[0]])
    assert build("geneval", "gray")([block_samples[1]])[0].value == 0.0


def test_pictures_of_the_built_in_world_with_its_own_detector():
    first = {prompt.tag: prompt for prompt in grammar.prompts("test")}
    rng = numpy.random.default_rng(0)
    drawn = [Sample(prompt, world.render(world.sample_scene(prompt.metadata, rng))) for prompt in first.values()]
    empty = [Sample(prompt, world.render([])) for prompt in first.values()]
    reward = rewards.build("geneval", vocabulary="shapes")
    assert len(drawn) == 6
    assert [score.parts["exclusive"] for score in reward(drawn)] == [1.0] * 6
    assert [score.value for score in reward(drawn)] == [1.0] * 6
    assert [score.value for score in reward(empty)] == [0.0] * 6


def test_the_blocks_detector_sees_what_was_drawn(blocks, draw_blocks):
    (found,) = detectors.build(blocks)([draw_blocks(circle=(2, 3, 9, 11))])
    assert found == [Detection("circle", 0.95, (2.0, 3.0, 10.0, 12.0), color="blue")]
