"""The GenEval rewards on pictures: values, parts, notes, prices, and what they refuse."""

from __future__ import annotations

import math
import shutil

import numpy
import pytest
import tiny_clip
import tiny_mask2former
from PIL import Image
from safetensors.torch import load_file, save_file

from flowbench import rewards
from flowbench.errors import ConfigError, LicenceError, RewardError, UnknownName
from flowbench.rewards.geneval import detectors
from flowbench.rewards.networks import place
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


ONE_STAR = {"class": "star", "count": 1}


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (
            {"include": [ONE_STAR | {"color": "YELLOW"}]},
            "the colour 'YELLOW', which GenEval has no name for. Did you mean",
        ),
        ({"include": [ONE_STAR | {"color": "turquoise"}]}, "the colour 'turquoise', which GenEval has no name for"),
        (
            {"include": [{"class": "Star", "count": 1}]},
            "'Star', which the detector 'shapes' does not know. Did you mean",
        ),
        ({"include": [ONE_STAR], "exclude": [{"class": "Star", "count": 2}]}, "'Star', which the detector 'shapes'"),
        ({"include": [ONE_STAR | {"count": "1"}]}, "include clause 0: class is 'star' and count is '1'"),
        ({"include": [ONE_STAR | {"Color": "red"}]}, "include clause 0: it has the key 'Color'. Did you mean 'color'"),
        ({"include": [ONE_STAR], "exclude": "star"}, "its `exclude` is 'star'"),
        ({"include": "star"}, "its `include` is 'star'"),
        ({"include": [ONE_STAR], "tag": "Counting"}, "its tag is 'Counting'. Did you mean 'counting'"),
    ],
)
@pytest.mark.parametrize("name", ["geneval", "geneval_official", "geneval_strict", "geneval_flowgrpo"])
def test_metadata_that_nothing_could_match_are_unscored_with_the_reason(name, metadata, said):
    bad, good = (
        Prompt(key, "a star", "colors", spec) for key, spec in (("p", metadata), ("q", {"include": [ONE_STAR]}))
    )
    image = world.render([])
    reward = rewards.build(name, vocabulary="shapes", on_error="skip")
    scores = reward([Sample(good, image), Sample(bad, image), Sample(good, image), Sample(good, image)])
    assert [score.is_scored for score in scores] == [True, False, True, True]
    assert "prompt 'p'" in scores[1].note and said in scores[1].note
    with pytest.raises(RewardError, match="prompt 'p'"):
        rewards.build(name, vocabulary="shapes")([Sample(bad, image)])


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "got 1 pictures and returned 0 lists"),
        ([[Detection("star", math.nan, (0, 0, 4, 4))]], "found Detection.*finite score"),
        ([[Detection("star", 0.9, (0, 0, math.inf, 4))]], "found Detection.*finite numbers"),
        ([["star"]], "found 'star'"),
        (
            [[Detection("star", 0.9, (0, 0, 4, 4), color="Red")]],
            "found a star of the colour 'Red'. Its colours are red, orange",
        ),
    ],
)
def test_what_a_detector_of_ones_own_finds_is_checked(monkeypatch, found, said):
    monkeypatch.setattr(detectors.registry, "_targets", {"mine": lambda: lambda images: found})
    sample = Sample(Prompt("p", "a star", "single_object", {"include": [ONE_STAR]}), Image.new("RGB", (8, 8)))
    with pytest.raises(RewardError, match=f"the detector 'mine' {said}"):
        build("geneval", "mine")([sample])


def test_a_detector_may_have_colours_of_its_own(monkeypatch):
    monkeypatch.setattr(detectors.registry, "_targets", {})
    monkeypatch.setattr(detectors.registry, "_cards", {})
    teal = lambda images: [[Detection("star", 0.9, (0, 0, 4, 4), color="teal")] for _ in images]  # noqa: E731
    detectors.registry.add("teal", lambda: teal, card=detectors.DetectorCard("shapes", colors=("teal", "lime")))
    spec = {"include": [ONE_STAR | {"color": "teal"}]}
    sample = Sample(Prompt("p", "a teal star", "colors", spec), Image.new("RGB", (8, 8)))
    assert build("geneval_official", "teal")([sample])[0].value == 1.0


def test_prompts_of_another_vocabulary_are_refused(draw_blocks):
    dog = Prompt("dog", "a dog", "single_object", {"include": [{"class": "dog", "count": 1}]})
    with pytest.raises(RewardError, match="prompt 'dog' asks for 'dog', which the detector 'shapes' does not know"):
        rewards.build("geneval")([Sample(dog, draw_blocks())])
    with pytest.raises(RewardError, match="'shapes' knows the vocabulary 'shapes', but the prompts use 'coco80'"):
        rewards.build("geneval", vocabulary="coco80", options={"geneval": {"detector": "shapes"}})


def test_a_vocabulary_without_a_detector_says_so():
    with pytest.raises(RewardError, match="no detector for the vocabulary 'lvis' yet; those with one: coco80, shapes"):
        rewards.build("geneval", vocabulary="lvis")
    with pytest.raises(UnknownName, match=r"unknown detector 'mask4former'\. Did you mean 'mask2former'"):
        build("geneval", "mask4former")
    with pytest.raises(RewardError, match="'mask2former' knows the vocabulary 'coco80', but the prompts use 'shapes'"):
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


# COCO's classes: the tiny detector and colour network, through the assets that the real ones come from


@pytest.fixture
def coco80(tmp_path, monkeypatch):
    """Weights in a mirror and no network: their folder, a picture, and what the detector finds on it, best first."""
    from flowbench.rewards.geneval import colors

    tiny_mask2former.write_asset(tmp_path / "geneval")
    tiny_mask2former.use(monkeypatch)
    tiny_clip.register(tmp_path / "architectures")
    tiny_clip.write(tmp_path / "clip-vit-l-14", tiny_clip.TINY_QUICK)
    monkeypatch.setattr(colors, "ARCHITECTURE", tiny_clip.TINY_QUICK)
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rough = Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=numpy.uint8))
    image = rough.resize((64, 48), Image.Resampling.BICUBIC)
    (found,) = detectors.build("mask2former", device="cpu")([image])
    return tmp_path, image, sorted(found, key=lambda one: -one.score)


def asking(image, tag="two_object", **clause):
    return Sample(Prompt(str(clause), "a prompt", tag, {"include": [clause]}), image)


def on_coco(name, **options):
    return rewards.build(name, vocabulary="coco80", options={name: {"device": "cpu", **options}})


def test_coco80_is_judged_by_mask2former(coco80):
    _, image, found = coco80
    labels = [one.label for one in found]
    best, count = labels[0], labels.count(labels[0])
    absent = next(name for name in ("zebra", "toothbrush") if name not in labels)
    samples = [
        asking(image, **{"class": best, "count": count}),
        asking(image, **{"class": best, "count": count + 1}),
        asking(image, **{"class": absent, "count": 1}),
    ]
    scores = on_coco("geneval_strict")(samples)
    assert [score.value for score in scores] == [1.0, 0.0, 0.0]
    assert [score.parts["partial"] for score in scores] == pytest.approx([1.0, count / (count + 1), 0.0])
    assert scores[0].parts["extras"] == len(found) - count
    assert scores[2].note == f"expected {absent}>=1, found 0"
    boxes = scores[0].details["objects"]
    assert {label: len(objects) for label, objects in boxes.items()} == {name: labels.count(name) for name in labels}
    assert boxes[best][0] == pytest.approx([*found[0].box, found[0].score], rel=1e-5)


def test_colours_are_asked_of_clip_and_only_where_they_matter(coco80):
    from flowbench.rewards.geneval import colors

    folder, image, found = coco80
    best = found[0]
    named = colors.load(place("cpu")).name(image, best)
    other = next(color for color in colors.COLORS if color != named)
    clause = {"class": best.label, "count": 1}
    samples = [asking(image, **clause, color=named), asking(image, **clause, color=other)]
    assert [score.value for score in on_coco("geneval_official")(samples)] == [1.0, 0.0]
    assert f"expected {other} {best.label}>=1" in on_coco("geneval_official")(samples)[1].note
    shutil.rmtree(folder / "clip-vit-l-14")
    reward = on_coco("geneval_official")
    assert reward([asking(image, **clause)])[0].value == 1.0
    with pytest.raises(RewardError, match="clip-vit-l-14"):
        reward(samples)


def test_flow_grpos_score_asks_clip_too(coco80):
    from flowbench.rewards.geneval import colors

    _, image, found = coco80
    labels = [one.label for one in found]
    mine = [one for one in found if one.label == labels[0]]
    names = [colors.load(place("cpu")).name(image, one) for one in mine]
    clause = {"class": labels[0], "count": len(mine), "color": names[0]}
    share = names.count(names[0]) / len(mine)
    (score,) = on_coco("geneval_flowgrpo")([asking(image, **clause)])
    assert score.value == pytest.approx((1 + share) / 2)  # the count is exact


def test_the_batch_size_changes_no_score(coco80):
    _, image, found = coco80
    images = [image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), image.resize((48, 48))]
    samples = [asking(each, **{"class": found[0].label, "count": 1}) for each in images]
    whole, single = (on_coco("geneval", batch_size=size)(samples) for size in (8, 1))
    assert [score.parts for score in whole] == [score.parts for score in single]


def test_an_unknown_dtype_or_device_is_refused(coco80):
    with pytest.raises(ConfigError, match="dtype 'half'"):
        on_coco("geneval", dtype="half")
    with pytest.raises(ConfigError, match="device 'tpu9'"):
        rewards.build("geneval", vocabulary="coco80", options={"geneval": {"device": "tpu9"}})


def test_flow_grpos_card_says_which_errors_are_not_repeated():
    summary = rewards.registry.card("geneval_flowgrpo").summary
    assert "red and blue swapped" in summary and "GELU instead of QuickGELU" in summary and "not repeated" in summary


def test_a_colour_without_a_name_and_an_excluded_class_that_does_not_exist_are_refused(tiny_weights):
    image = Image.new("RGB", (64, 64), "red")
    teal = {"include": [{"class": "cat", "count": 1, "color": "teal"}]}
    typo = {"include": [{"class": "cat", "count": 1}], "exclude": [{"class": "catt", "count": 2}]}
    reward = rewards.build("geneval", vocabulary="coco80")
    with pytest.raises(RewardError, match="asks for the colour 'teal', which GenEval has no name for"):
        reward([Sample(Prompt("p", "a teal cat", "colors", teal), image)])
    with pytest.raises(RewardError, match="asks for 'catt', which the detector 'mask2former' does not know"):
        reward([Sample(Prompt("p", "a cat", "counting", typo), image)])


def test_a_network_that_gives_nan_is_an_error_and_never_a_zero(tiny_weights, tmp_path, monkeypatch):
    shutil.copytree(tiny_weights, tmp_path / "mirror")
    path = tmp_path / "mirror" / "geneval" / "model.safetensors"
    weights = load_file(path)
    weights["class_predictor.bias"][:] = math.nan
    save_file(weights, path)
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(tmp_path / "mirror"))
    spec = {"include": [{"class": "traffic light", "count": 1}]}
    sample = Sample(Prompt("p", "a traffic light", "single_object", spec), Image.new("RGB", (64, 64), "red"))
    (score,) = rewards.build("geneval", vocabulary="coco80", on_error="skip")([sample])
    assert not score.is_scored and "not finite" in score.note


def test_half_precision_is_refused_on_the_cpu(tiny_weights):
    options = {"geneval": {"dtype": "float16", "device": "cpu"}}
    with pytest.raises(ConfigError, match="on the CPU the detector gives wrong numbers"):
        rewards.build("geneval", vocabulary="coco80", options=options)


def test_a_detector_of_unknown_licence_needs_the_users_word(tiny_weights):
    options = {"geneval": {"detector": "mask2former-hf"}}
    with pytest.raises(LicenceError, match="--accept-licence mask2former-hf"):
        rewards.build("geneval", vocabulary="coco80", options=options)
