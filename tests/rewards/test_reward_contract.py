"""What every registered reward promises. Registering is signing up: a new reward is tested here by being listed."""

from __future__ import annotations

import dataclasses
import inspect
import io
import math
import re
from pathlib import Path

import pytest
from PIL import Image

from flowbench import rewards
from flowbench.types import Prompt, Sample

DOCS = Path(__file__).parents[2] / "docs" / "rewards.md"
NAMES = rewards.registry.names()


@pytest.fixture
def build(blocks):
    """Builds a reward by name on the shapes vocabulary, with the blocks detector where it wants one."""

    def build(name, **settings):
        options = {"detector": blocks} if "detector" in inspect.signature(rewards.registry.get(name)).parameters else {}
        return rewards.build(name, vocabulary="shapes", options={name: options}, **settings)

    return build


def batches(reward, samples):
    """The smallest batches that a reward can be given: single samples, or one prompt's."""
    if not reward.per_group:
        return [[sample] for sample in samples]
    ids = dict.fromkeys(sample.prompt.id for sample in samples)
    return [[sample for sample in samples if sample.prompt.id == prompt_id] for prompt_id in ids]


def test_the_built_in_rewards_are_listed():
    assert {"geneval", "geneval_flowgrpo", "geneval_official", "geneval_strict", "jpeg"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_its_card_is_complete(name):
    card = rewards.registry.card(name)
    assert card.name == name
    assert all((card.summary, card.unit, card.source, card.licence))
    assert card.direction in ("higher", "lower")
    assert card.low is None or card.high is None or card.low < card.high
    assert math.isfinite(card.rl_scale) and card.rl_scale > 0


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_one_score_for_each_sample_within_the_cards_range(name, build, block_samples):
    reward = build(name)
    scores = reward(block_samples)
    assert len(scores) == len(block_samples)
    assert all(score.is_scored for score in scores)
    assert len({score.value for score in scores}) > 1
    low = -math.inf if reward.card.low is None else reward.card.low
    high = math.inf if reward.card.high is None else reward.card.high
    assert all(low <= score.value <= high for score in scores)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_deterministic_and_leaves_its_input_alone(name, build, block_samples):
    before = [(sample.image.tobytes(), dataclasses.asdict(sample.prompt)) for sample in block_samples]
    reward = build(name)
    assert reward(block_samples) == reward(block_samples) == build(name)(block_samples)
    assert before == [(sample.image.tobytes(), dataclasses.asdict(sample.prompt)) for sample in block_samples]


@pytest.mark.parametrize("name", NAMES)
def test_neither_batch_size_nor_order_changes_a_score(name, build, block_samples):
    reward = build(name)
    whole = dict(zip(map(id, block_samples), reward(block_samples), strict=True))
    for batch in [*batches(reward, block_samples), block_samples[::-1]]:
        assert reward(batch) == [whole[id(sample)] for sample in batch]


@pytest.mark.parametrize("name", NAMES)
def test_what_it_cannot_score_is_unscored_with_a_reason(name, build, block_samples):
    broken = Sample(block_samples[0].prompt, None)
    (score,) = build(name, on_error="skip")([broken])
    assert not score.is_scored and name in score.note
    bare = Sample(Prompt("bare", "words only"), block_samples[0].image)
    (score,) = build(name)([bare])
    assert score.is_scored or score.note
    if "geneval" in name:
        assert not score.is_scored


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
    assert len(code) == 3
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
