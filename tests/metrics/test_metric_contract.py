"""What every registered metric promises. Registering is signing up: a new metric is tested here by being listed."""

from __future__ import annotations

import dataclasses
import math

import numpy
import pytest
import torch

from flowbench import metrics
from flowbench.errors import ConfigError
from flowbench.metrics.catalog import Level
from flowbench.shapes.world import Shape, render
from flowbench.types import Prompt, Sample

NAMES = metrics.registry.names()
OPTIONS = {"fid": {"minimum": 2}, "kid": {"subset_size": 3, "subsets": 4}}
"""What lets a metric work on the few pictures of a test."""
RELATIVE = 1e-5
OF_THE_WORLD = ("layout_diversity", "object_color_entropy")
"""Metrics that look for what the prompts of the built-in world ask for."""
OF_SETS = [name for name in NAMES if metrics.registry.get(name).level == "set"]


@pytest.fixture
def weights(weights, monkeypatch):
    """Inception looks at 107 x 107 instead of 299 x 299, an eighth of the work; test_published_fid.py has it whole."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    monkeypatch.setattr(FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", 107)
    return weights


@pytest.fixture
def samples(samples, request):
    """Two for each prompt: the Inception metrics take their time over each picture."""
    if request.node.callspec.params.get("name") not in OF_THE_WORLD:
        return samples[:4]
    prompts = [Prompt(name, f"a {name}", metadata={"include": [{"class": "circle", "count": 1}]}) for name in "ab"]
    shapes = [Shape("circle", ("red", "blue")[turn // 3], 8 + 2 * turn**2, 16, 5.5) for turn in range(4)]
    return [Sample(prompts[turn % 2], render([shape]), turn) for turn, shape in enumerate(shapes)]


@pytest.fixture
def reference(reference):
    return reference[:3]


def build(name, **settings):
    options = {**OPTIONS.get(name, {}), **settings.pop("options", {})}
    return metrics.build(name, options=options, **settings)


def keyed(measured, samples):
    """(what it is of) -> value, so that orders can be compared: a sample's identity, a prompt, or the set."""
    return {
        (id(samples[each.index]) if each.index is not None else each.prompt_id): each.score.value for each in measured
    }


def test_the_built_in_metrics_are_listed():
    assert set(NAMES) >= {"clip_diversity", "cmmd", "color_entropy", "edge_density", "fid", "grid_energy", "kid",
                          "layout_diversity", "lpips_diversity", "object_color_entropy", "palette_entropy",
                          "placement_diversity", "saturation", "vendi"}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_its_card_is_complete(name):
    card = metrics.registry.card(name)
    assert card.name == name
    assert all((card.summary, card.unit, card.source, card.licence, card.preprocessing))
    assert card.direction in ("higher", "lower", "none")
    assert card.low is None or card.high is None or card.low < card.high
    assert bool(card.backbone) == bool(card.needs) == bool(card.revision)
    assert metrics.registry.get(name).level in Level.__args__
    assert metrics.registry.line(name) == f"per {metrics.registry.get(name).level}: {card.summary}"


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_as_many_numbers_as_its_level_asks_within_the_cards_range(name, weights, samples, reference):
    metric = build(name)
    measured = metric(samples, reference)
    expected = {
        "picture": [(sample.prompt.id, index) for index, sample in enumerate(samples)],
        "prompt": [("a", None), ("b", None)],
        "set": [(None, None)],
    }[metric.level]
    assert [(each.prompt_id, each.index) for each in measured] == expected
    low = -math.inf if metric.card.low is None else metric.card.low
    high = math.inf if metric.card.high is None else metric.card.high
    assert all(each.score.is_scored and low <= each.score.value <= high for each in measured)
    assert len(measured) == 1 or len({each.score.value for each in measured}) > 1
    assert {part for each in measured for part in each.score.parts} == set(metric.card.parts)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_deterministic_and_leaves_the_world_alone(name, weights, samples, reference):
    before = [(sample.image.tobytes(), dataclasses.asdict(sample.prompt)) for sample in samples]
    torch.rand(1), numpy.random.random()
    states = torch.get_rng_state(), numpy.random.get_state()[1].copy(), numpy.random.get_state()[2]
    first, second = build(name), build(name)
    assert first(samples, reference) == first(samples, reference) == second(samples, reference)
    assert before == [(sample.image.tobytes(), dataclasses.asdict(sample.prompt)) for sample in samples]
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == numpy.random.get_state()[1]).all() and states[2] == numpy.random.get_state()[2]


@pytest.mark.parametrize("name", NAMES)
def test_neither_order_nor_batch_size_changes_a_number(name, weights, samples, reference):
    metric = build(name)
    whole = keyed(metric(samples, reference), samples)
    turned = samples[::-1]
    assert keyed(metric(turned, reference[::-1]), turned) == pytest.approx(whole, rel=RELATIVE)
    if not metric.card.needs and metric.level != "picture":  # without batches, and of more than one picture
        return
    if metric.card.needs:
        small = build(name, options={"batch_size": 2})
        assert keyed(small(samples, reference), samples) == pytest.approx(whole, rel=RELATIVE)
    else:
        for sample in samples:
            (alone,) = metric([sample])
            assert alone.score.value == whole[id(sample)]


@pytest.mark.parametrize("name", NAMES)
def test_too_few_pictures_are_unscored_with_a_reason(name, weights, samples, reference):
    metric = build(name, options={"minimum": 3} if name in ("fid", "cmmd") else {})
    if metric.level == "picture":
        assert metric([]) == []
        return
    (measured,) = metric(samples[:1], reference)
    assert not measured.score.is_scored
    assert name in measured.score.note
    assert ("3 pictures" if metric.compares and metric.level == "set" else "2 or more") in measured.score.note
    if metric.level == "set":
        assert not metric([], reference)[0].score.is_scored
        assert metric(samples, reference[:1])[0].score.is_scored != metric.compares
    else:
        assert metric([]) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_without_a_picture_is_unscored_or_said(name, weights, samples, reference):
    broken = [Sample(samples[0].prompt, None), *samples[1:]]
    measured = build(name, on_error="skip")(broken, reference)
    assert not measured[0].score.is_scored and name in measured[0].score.note
    assert all(each.score.is_scored for each in measured[1:])


@pytest.mark.parametrize("name", OF_SETS)
def test_a_metric_of_sets_says_how_to_give_the_reference_or_needs_none(name, weights, samples, reference):
    if not metrics.registry.get(name).compares:
        assert build(name)(samples) == build(name)(samples, reference)
        return
    with pytest.raises(ConfigError, match="--reference FOLDER"):
        build(name)(samples)
