"""What every registered reward promises. Registering is signing up: a new reward is tested here by being listed."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from PIL import Image

from flowbench import rewards
from flowbench.letters import grammar, world
from flowbench.rewards.geneval import colors
from flowbench.testing import check_reward, sample_pictures
from flowbench.types import Prompt, Sample

DOCS = Path(__file__).parents[2] / "docs" / "rewards.md"
NAMES = rewards.registry.names()
RULES = {"jpeg", "letters", "ocr"}
"""Beside GenEval with the blocks detector: no sums over a batch, so not a bit may depend on it."""


def settings(name, blocks):
    """GenEval is checked on the shapes vocabulary with the blocks detector, all others as they are."""
    return {"vocabulary": "shapes", "options": {"detector": blocks}} if "geneval" in name else {}


@pytest.fixture
def build(blocks, tiny_weights):
    """Builds a reward by name on tiny weights."""

    def build(name, **more):
        chosen = settings(name, blocks)
        options = {name: chosen.pop("options", {})}
        return rewards.build(name, options=options, **chosen, **more)

    return build


@pytest.fixture
def samples_for(block_samples):
    """Of GenEval blocks, of the letters world its signs, of all others pictures of anything."""
    rng = numpy.random.default_rng(0)
    written = {"E": "E", "TA": "TA", "TEA": "TEE", "TAXE": "TAXE", "KEYS": "KEY"}  # asked for: what the sign says
    signs = [
        Sample(grammar.prompt(asked), world.render(world.sample_sign(said, rng))) for asked, said in written.items()
    ]
    return lambda name: block_samples if "geneval" in name else signs if name == "letters" else sample_pictures()


def test_the_built_in_rewards_are_listed():
    assert {
        "aesthetic", "clip_score-vit-b-32", "clip_score-vit-l-14", "geneval", "geneval_flowgrpo", "geneval_official",
        "geneval_strict", "hpsv2", "hpsv2.1", "imagereward", "jpeg", "letters", "ocr", "pickscore",
    } <= set(NAMES)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_its_card_is_complete(name):
    card = rewards.registry.card(name)
    assert card.name == name
    assert all((card.summary, card.unit, card.source, card.licence))
    assert rewards.registry.line(name) and card.summary.startswith(rewards.registry.line(name))
    assert card.direction in ("higher", "lower")
    assert card.low is None or card.high is None or card.low < card.high
    assert math.isfinite(card.rl_scale) and card.rl_scale > 0 and math.isfinite(card.rl_shift)
    assert not card.needs or all((card.backbone, card.revision, card.preprocessing))


@pytest.mark.parametrize("name", NAMES)
def test_its_card_names_every_part_that_it_gives_and_no_other(name, build, samples_for):
    """A part that no card names has neither unit nor direction in any table."""
    reward = build(name)
    parts = {part for score in reward(samples_for(name)) for part in score.parts}
    reward.close()
    only_where_text_is_read = {"confidence"} if name in ("ocr", "letters") else set()
    assert parts | only_where_text_is_read == set(reward.card.parts)
    assert all(part.unit and part.direction in ("higher", "lower", "none") for part in reward.card.parts.values())


def test_a_weighted_sum_knows_what_its_parts_are(blocks):
    options = {"geneval": {"detector": blocks}}
    parts = rewards.build({"geneval": 1.0, "jpeg": 0.1}, vocabulary="shapes", options=options).card.parts
    assert (parts["jpeg"].unit, parts["jpeg"].direction) == ("kB", "higher")
    assert parts["geneval/extras"].direction == "lower" and parts["geneval/official"].direction == "higher"


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_its_promises(name, blocks, samples_for, tiny_weights):
    """Length, range, order, determinism, batch size, untouched input, bad input, device."""
    exact = "geneval" in name or name in RULES
    check_reward(name, samples_for(name), tolerance=0 if exact else 1e-5, **settings(name, blocks))


def test_geneval_keeps_its_promises_with_its_own_detector_and_colours(tiny_weights, monkeypatch):
    """Random weights find what they find; their sums differ in the last digits between batches, so boxes may too."""
    clauses = {"include": [{"class": "traffic light", "count": 8, "color": "red"}]}  # two of six show eight
    samples = [
        replace(sample, prompt=replace(sample.prompt, tag="colors", metadata=clauses)) for sample in sample_pictures()
    ]
    asked = []
    name = colors.ColorClassifier.name
    monkeypatch.setattr(colors.ColorClassifier, "name", lambda *of: asked.append(name(*of)) or asked[-1])
    check_reward("geneval", samples, vocabulary="coco80")
    assert asked
    scores = rewards.build("geneval", vocabulary="coco80")(samples)
    assert any(score.details["objects"].get("traffic light") for score in scores)
    assert len({score.value for score in scores}) > 1


@pytest.mark.parametrize("name", NAMES)
def test_it_tells_pictures_apart(name, build, samples_for):
    reward = build(name)
    assert len({score.value for score in reward(samples_for(name))}) > 1
    reward.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_that_it_cannot_use_is_unscored_with_a_reason(name, build, samples_for):
    """Words alone (no quotation, no clauses), and no words at all."""
    reward = build(name)
    image = samples_for(name)[0].image
    for prompt in (Prompt("bare", "words only"), Prompt("empty", "")):
        (score,) = reward([Sample(prompt, image)])
        assert score.is_scored or score.note
        if "geneval" in name or name in ("ocr", "letters"):
            assert not score.is_scored
    reward.close()


@pytest.mark.parametrize("name", NAMES)
def test_the_guide_has_its_card(name):
    card = rewards.registry.card(name)
    row = next(line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` |"))
    assert card.unit in row and card.licence in row


def test_the_guides_examples_run(keep_registry, blocks):
    prompt = Prompt("one", "a circle", "single_object", {"include": [{"class": "circle", "count": 1}]})
    white = Sample(prompt, Image.new("RGB", (32, 32), "white"))
    shown: dict = {"samples": [white]}
    code = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(code) == 5
    for block in code:
        exec(block, shown)
    assert rewards.build("brightness", options={"brightness": {"target": 0.5}})([white])[0].value == 0.5
    assert set(shown["scores"][0].parts) >= {"geneval", "geneval/exclusive", "jpeg"}
    mine = rewards.build("geneval", vocabulary="coco80", options={"geneval": {"detector": "mine"}})
    cat = Prompt("cat", "a red cat", "colors", {"include": [{"class": "cat", "count": 1, "color": "red"}]})
    assert mine([Sample(cat, white.image)])[0].parts["exclusive"] == 1.0


def test_jpeg_is_the_size_of_the_file_in_thousands_of_bytes():
    image = Image.radial_gradient("L").convert("RGB")
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    sample = Sample(Prompt("p", "a gradient"), image)
    kilobytes = len(file.getvalue()) / 1000
    assert 1 < kilobytes < 50
    assert rewards.build("jpeg")([sample])[0].value == -kilobytes
    assert rewards.build("jpeg", options={"jpeg": {"larger": True}})([sample])[0].value == kilobytes
