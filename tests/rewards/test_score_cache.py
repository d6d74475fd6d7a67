"""The score cache: what is the same score, what is kept, what happens when the file is no good."""

from __future__ import annotations

import dataclasses
import math
import sqlite3
from pathlib import Path

import numpy
import pytest
from PIL import Image

from flowbench import rewards
from flowbench.images import png_bytes
from flowbench.rewards import cache, registry
from flowbench.rewards.cache import file_path
from flowbench.rewards.cache_file import CacheFile
from flowbench.rewards.card import Card
from flowbench.types import Prompt, Sample, Score

ODD = 0.1 + 0.2
"""0.30000000000000004: a float that fewer than 17 digits would not give back."""


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Turned on, in a folder of this test; its file."""
    monkeypatch.setenv("FLOWBENCH_SCORE_CACHE", "on")
    monkeypatch.setenv("FLOWBENCH_CACHE", str(tmp_path / "flowbench-cache"))
    cache._warn.cache_clear()
    return file_path()


@pytest.fixture
def calls(keep_registry):
    """Register `slow`, whose scores are cached; the list of the texts that it was really asked to score."""
    asked: list[str] = []

    @rewards.register("slow", card=Card("slow", cached=True))
    def slow(*, factor: float = 1.0, batch_size: int = 4, device: str = "auto", model: str = ""):
        def score(samples):
            asked.extend(sample.prompt.text for sample in samples)
            return [
                Score.unscored("nothing to see")
                if sample.prompt.text == "nothing"
                else Score(factor * ODD, {"a": -0.0, "b": 1e-310}, "ä 'note'", {"boxes": {"cat": [[0.1, 2, ODD]]}})
                for sample in samples
            ]

        return score

    return asked


def picture(seed: int = 0, size: int = 8) -> Image.Image:
    return Image.fromarray(numpy.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype="uint8"))


def sample(text: str = "a cat", seed: int = 0, *, tag: str | None = None, **metadata) -> Sample:
    return Sample(Prompt("p", text, tag, metadata), picture(seed), seed)


def build(**options):
    return rewards.build("slow", options={"slow": options})


def test_a_score_is_computed_once_and_comes_back_to_the_bit(calls):
    first = build()([sample()])
    again = build()([sample()])
    assert calls == ["a cat"]
    assert again == first
    assert again[0].value.hex() == ODD.hex()
    assert math.copysign(1, again[0].parts["a"]) == -1
    assert again[0].parts["b"].hex() == (1e-310).hex()
    assert list(again[0].parts) == ["a", "b"]
    assert again[0].note == "ä 'note'"
    assert again[0].details == {"boxes": {"cat": [[0.1, 2, ODD]]}}


def test_only_what_is_missing_is_scored_and_the_order_is_kept(calls):
    build()([sample("one"), sample("three")])
    scores = build()([sample("zero"), sample("one"), sample("two"), sample("three"), sample("nothing")])
    assert calls == ["one", "three", "zero", "two", "nothing"]
    assert [score.is_scored for score in scores] == [True] * 4 + [False]


def test_what_decides_a_score_is_in_the_key(calls):
    """Each of these differs from the first in one thing that may change the score."""
    build()([sample()])
    others = [
        (build(), sample("a dog")),
        (build(), sample(seed=1)),
        (build(), sample(tag="colors")),
        (build(), sample(include=[{"class": "cat"}])),
        (build(), sample(prompt="a dog")),
        (build(), Sample(Prompt("p", "a cat"), picture().resize((4, 16)))),
        (build(), Sample(Prompt("p", "a cat"), picture().convert("L"))),
        (build(factor=2.0), sample()),
    ]
    for number, (reward, other) in enumerate(others, start=2):
        reward([other])
        assert len(calls) == number


def test_a_picture_of_the_same_bytes_in_another_shape_is_another_picture(calls):
    build()([Sample(Prompt("p", "a cat"), Image.new("RGB", (4, 9)))])
    build()([Sample(Prompt("p", "a cat"), Image.new("RGB", (9, 4)))])
    assert len(calls) == 2


def test_what_changes_no_score_is_not_in_the_key(calls, tmp_path):
    """Batch size, device, the prompt's id, the seed; and a picture read back from its PNG is the same picture."""
    build()([sample()])
    (tmp_path / "a.png").write_bytes(png_bytes(picture()))
    with Image.open(tmp_path / "a.png") as image:
        image.load()
    same = Sample(Prompt("other id", "a cat"), image, 7)
    assert build(batch_size=1, device="cpu")([same]) == build()([sample()])
    repeated = {"prompt": "a cat", "tag": None}  # prompt sets say text and tag again in the metadata
    build()([Sample(Prompt("p", "a cat", None, repeated), picture())])
    assert calls == ["a cat"]


def test_another_version_and_other_code_are_another_reward(calls, monkeypatch):
    build()([sample()])
    monkeypatch.setitem(registry._cards, "slow", Card("slow", cached=True, version="2"))
    build()([sample()])
    assert len(calls) == 2
    monkeypatch.setattr("flowbench.rewards.catalog.plugin_code", lambda spec, table: {"slow": "0123456789ab"})
    build()([sample()])
    assert len(calls) == 3


def test_other_weights_are_another_reward(tiny_mirror, tiny_weights, monkeypatch, tmp_path):
    """The aesthetic reward on its tiny network: one byte of its weights changed, and the kept score is not used."""
    import shutil

    one = [sample()]
    first = rewards.build("aesthetic")(one)
    assert [each.scores for each in CacheFile(file_path()).kept()] == [1]
    changed = tmp_path / "weights"
    shutil.copytree(tiny_mirror, changed)
    weights = next(path for path in sorted(changed.glob("aesthetic*/*")) if path.suffix in (".pth", ".safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(changed))
    second = rewards.build("aesthetic")(one)
    assert [each.scores for each in CacheFile(file_path()).kept()] == [2]
    assert second[0].is_scored and first[0].is_scored


def test_an_option_that_names_a_file_counts_with_its_contents(calls, tmp_path):
    folder = tmp_path / "own-model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"one")
    build(model=str(folder))([sample()])
    build(model=str(folder))([sample()])
    assert len(calls) == 1
    (folder / "weights.bin").write_bytes(b"two")
    build(model=str(folder))([sample()])
    assert len(calls) == 2


def test_the_unscored_are_asked_again(calls):
    for _ in range(2):
        assert build()([sample("nothing")])[0].note == "nothing to see"
    assert calls == ["nothing", "nothing"]


@pytest.mark.parametrize(
    ("details", "kept"),
    [({"a": [1, 2.5, None, True, "x"]}, True), ({"a": (1, 2)}, False), ({1: "a"}, False), ({"a": math.nan}, False)],
)
def test_details_that_json_would_change_are_not_kept(keep_registry, details, kept):
    asked = []

    @rewards.register("detailed", card=Card("detailed", cached=True))
    def detailed():
        return lambda samples: [asked.append(1) or Score(1.0, details=details) for _ in samples]

    first = rewards.build("detailed")([sample()])[0].details
    assert repr(rewards.build("detailed")([sample()])[0].details) == repr(first) == repr(details)
    assert len(asked) == (1 if kept else 2)


def test_which_rewards_are_cached(keep_registry, own_cache):
    """By their cards: those that need weights, and OCR; not the rules, nor one that compares a prompt's pictures."""
    cached = {
        name
        for name in registry
        if (card := registry.card(name)) is not None
        and (rewards.needed_weights(name, {}, "coco80") if card.cached is None else card.cached)
    }
    assert {"aesthetic", "pickscore", "imagereward", "hpsv2.1", "ocr", "geneval", "clip_score-vit-l-14"} <= cached
    assert "jpeg" not in cached
    assert not rewards.needed_weights("geneval", {}, "shapes")

    @rewards.register("grouped", card=Card("grouped", cached=True))
    def grouped():
        def score(samples):
            return [Score(float(len(samples))) for _ in samples]

        score.per_group = True
        return score

    for name in ("grouped", "jpeg"):
        rewards.build(name)([sample(), sample(seed=1)])
    rewards.build("geneval", vocabulary="shapes")([sample(include=[{"class": "circle", "count": 1}])])
    assert not own_cache.exists()


def test_each_part_of_a_sum_is_cached_by_itself(calls):
    build()([sample()])
    summed = rewards.build({"slow": 2.0, "jpeg": 0.0})
    assert summed([sample()])[0].value == 2 * ODD
    assert calls == ["a cat"]


def test_it_can_be_turned_off(calls, monkeypatch, own_cache):
    for _ in range(2):
        rewards.build("slow", cache=False)([sample()])
    monkeypatch.setenv("FLOWBENCH_SCORE_CACHE", "off")
    for _ in range(2):
        build()([sample()])
    assert len(calls) == 4
    assert not own_cache.exists()


def test_hits_and_misses_are_counted_when_a_reward_is_closed(calls):
    for texts in (["a", "b", "c"], ["a", "b"]):
        reward = build()
        reward([sample(text) for text in texts])
        reward.close()
        reward.close()  # counts once
    (kept,) = CacheFile(file_path()).kept()
    assert (kept.reward, kept.scores, kept.hits, kept.misses) == ("slow", 3, 2, 3)


def _no_database(path: Path) -> None:
    path.write_bytes(b"not a database at all, " * 100)


def _another_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table scores (something integer)")


def _a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("spoil", [_no_database, _another_table, _a_folder])
def test_a_cache_that_is_no_good_is_said_once_and_scoring_goes_on(calls, spoil, own_cache, capsys):
    own_cache.parent.mkdir()
    spoil(own_cache)
    reward = build()
    for _ in range(3):
        assert reward([sample()])[0].value == ODD
    reward.close()
    assert len(calls) == 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert str(own_cache) in said[0] and "flowbench cache clear" in said[0]


def test_a_place_that_cannot_be_made(calls, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLOWBENCH_CACHE", str(tmp_path / "file"))
    assert build()([sample()])[0].value == ODD
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_damaged_row_is_not_believed_and_is_mended(calls, own_cache):
    build()([sample()])
    with sqlite3.connect(own_cache) as connection:
        assert connection.execute("update scores set score = replace(score, '0.3', '0.9')").rowcount == 1
    assert build()([sample()])[0].value == ODD
    assert build()([sample()])[0].value == ODD
    assert len(calls) == 2


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_never_gives_another_score(calls, own_cache, seed):
    """Bytes of the file overwritten: whatever SQLite makes of it, scores are right."""
    reward = build()
    reward([sample(f"prompt {number}") for number in range(40)])
    reward.close()
    data = bytearray(own_cache.read_bytes())
    draws = numpy.random.default_rng(seed)
    for place in draws.integers(0, len(data), 60):
        data[place] = draws.integers(0, 256)
    own_cache.write_bytes(bytes(data))
    scores = build()([sample(f"prompt {number}") for number in range(40)])
    assert all(score == dataclasses.replace(scores[0]) and score.value == ODD for score in scores)
    assert all(score.details == {"boxes": {"cat": [[0.1, 2, ODD]]}} for score in scores)


def test_the_first_of_two_scores_for_one_key_stays(own_cache):
    file = CacheFile(own_cache)
    file.put("a", {b"k": "[1]"})
    file.put("a", {b"k": "[2]"})
    assert file.get([b"k"]) == {b"k": "[1]"}


def test_options_that_are_no_json_are_said_and_not_cached(calls, capsys):
    build(model=object())([sample()])
    assert "scores of reward 'slow' are not cached" in capsys.readouterr().err


def test_clear_by_reward_and_by_age(own_cache, monkeypatch):
    from flowbench.rewards import cache_file

    file = CacheFile(own_cache)
    now = cache_file.time.time()
    for days, key in ((10, b"old"), (3, b"middle"), (0, b"new")):
        monkeypatch.setattr(cache_file.time, "time", lambda days=days: now - 86400 * days)
        file.put("a", {key: "[1]"})
    file.put("b", {b"other": "[1]"})
    assert [(each.reward, each.scores) for each in file.kept()] == [("a", 3), ("b", 1)]
    assert file.clear(older_than=3) == 1
    assert file.clear(reward="a", older_than=2) == 1
    assert set(file.get([b"old", b"middle", b"new", b"other"])) == {b"new", b"other"}
    assert file.clear(reward="a") == 1
    assert file.clear() == 1
    assert file.kept() == []
