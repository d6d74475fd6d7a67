"""Whatever can change a score is scored anew: other pictures in another folder, by another scorer in another file."""

from __future__ import annotations

import dataclasses
import json

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from flowbench import assets, benchmarks, metrics, rewards
from flowbench.benchmarks import existing
from flowbench.benchmarks.suites.existing_pictures import PICTURES
from flowbench.evals import load_results
from flowbench.registry import load_plugin_file
from flowbench.rewards import registry


@pytest.fixture
def table(tmp_path):
    """Writes a table of three pictures and reads it back."""
    for place, color in enumerate(("red", "green", "blue")):
        Image.new("RGB", (8, 8), color).save(tmp_path / f"{place}.png")

    def write(*rows):
        rows = rows or (("0.png", "a cat", 1), ("1.png", "a cat", 2), ("2.png", "a dog", 3))
        lines = [json.dumps({"image": image, "prompt": words, "seed": seed}) for image, words, seed in rows]
        (tmp_path / "t.jsonl").write_text("\n".join(lines))
        return existing.read(tmp_path / "t.jsonl")

    return write


@pytest.fixture
def folder_of(tmp_path):
    def score(pictures, name="jpeg", **options):
        suite = PICTURES.with_scorers([name], {name: options})
        return benchmarks.evaluate(benchmarks.ExistingSource(pictures, "x"), suite, out=tmp_path / "out")

    return score


def num_files(folder):
    return len(list(folder.glob("scores/*.jsonl")))


def test_a_picture_that_moves_to_another_prompt_is_scored_again(table, folder_of):
    first = folder_of(table())
    moved = folder_of(table(("0.png", "a cat", 1), ("1.png", "a dog", 2), ("2.png", "a dog", 3)))
    assert moved != first and folder_of(table()) == first
    records = load_results(moved).records
    assert [(record.prompt, record.image) for record in records] == [
        ("a cat", "0.png"), ("a dog", "1.png"), ("a dog", "2.png")
    ]  # fmt: skip


def test_other_seeds_and_pictures_are_other_folders(table, folder_of, tmp_path):
    first = folder_of(table())
    assert folder_of(table(("0.png", "a cat", 9), ("1.png", "a cat", 2), ("2.png", "a dog", 3))) != first
    Image.new("RGB", (8, 8), "white").save(tmp_path / "0.png")
    assert folder_of(table()) != first


def test_other_options_are_another_file_of_scores(table, folder_of):
    first = folder_of(table())
    small = load_results(first).mean("jpeg")
    assert folder_of(table(), larger=True) == first
    assert (num_files(first), load_results(first).mean("jpeg")) == (2, -small)
    assert folder_of(table(), larger=False) == first  # the default, said aloud
    assert (num_files(first), load_results(first).mean("jpeg")) == (2, small)


def test_another_version_of_a_scorer_is_another_file_of_scores(table, folder_of, monkeypatch):
    first = folder_of(table())
    monkeypatch.setitem(registry._cards, "jpeg", dataclasses.replace(registry.card("jpeg"), version="2"))
    assert folder_of(table()) == first
    assert num_files(first) == 2


def test_where_and_how_fast_do_not_matter_and_engines_do():
    here = rewards.describe("ocr", {"workers": 2})
    assert here == rewards.describe("ocr", {}) and here["packages"]["rapidocr"] != "not installed"
    assert "paddleocr" in rewards.describe("ocr", {"backend": "paddle"})["packages"]
    plain = rewards.describe("pickscore", {})
    assert plain == rewards.describe("pickscore", {"device": "cpu", "batch_size": 3, "dtype": "float32"})
    assert plain != rewards.describe("pickscore", {"dtype": "bfloat16"})
    assert "vocabulary" not in rewards.describe("jpeg", {}, vocabulary="coco80")
    assert rewards.describe("geneval", {}, vocabulary="coco80")["vocabulary"] == "coco80"


def test_other_weights_or_another_configuration_are_another_identity(tiny_mirror, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(tiny_mirror, tmp_path / "mirror")
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(tmp_path / "mirror"))
    before = assets.identity("pickscore")
    config = tmp_path / "mirror" / "pickscore" / "config.json"
    config.write_text(config.read_text().replace('"hidden_act"', '"hidden_act_was"', 1) + " ")
    changed = assets.identity("pickscore")
    weights = tmp_path / "mirror" / "pickscore" / "model.safetensors"
    values = load_file(weights)
    values["logit_scale"] = values["logit_scale"] + 1
    save_file(values, weights)
    assert len({before, changed, assets.identity("pickscore")}) == 3


def test_the_weights_of_a_reward_stand_in_the_card(table, folder_of, tiny_weights):
    card = load_results(folder_of(table(), "aesthetic")).card
    expected = [f"{name} {assets.identity(name)}" for name in ("clip-vit-l-14", "aesthetic")]
    assert card.scorers["aesthetic"]["weights"] == expected


def test_a_rewritten_plugin_metric_is_measured_again(table, folder_of, tmp_path):
    def measured(value):
        path = tmp_path / f"plugin{value}.py"
        path.write_text(
            "from flowbench import Score, metrics\n"
            "@metrics.register('mine')\n"
            f"def mine():\n    return lambda samples: [Score({value})] * len(samples)\n"
        )
        metrics.registry._targets.pop("mine", None)
        load_plugin_file(path)
        return load_results(folder_of(table(), "mine")).mean("mine")

    try:
        assert [measured(1.0), measured(2.0)] == [1.0, 2.0]
    finally:
        metrics.registry._targets.pop("mine", None)


def test_scorers_of_later_calls_stand_behind_those_of_earlier_ones(table, folder_of):
    """The names of parts and the headline stay, whoever is asked later."""
    first = load_results(folder_of(table()))
    later = load_results(folder_of(table(), "edge_density"))
    assert later.folder == first.folder
    assert [each.name for each in later.summary.scorers] == ["jpeg", "edge_density"]
    assert (later.headline, later.metrics) == ("jpeg", ("jpeg", "edge_density"))
    again = load_results(folder_of(table(), "color_entropy"))
    assert [each.name for each in again.summary.scorers] == ["jpeg", "edge_density", "color_entropy"]
    assert again.mean("jpeg") == first.mean("jpeg")


def test_a_suite_without_prompts_of_its_own_is_for_pictures_only(tmp_path):
    from painter import Painter

    from flowbench.errors import ConfigError, RunError

    with pytest.raises(ConfigError, match="measures pictures with those that they come with"):
        benchmarks.evaluate(Painter(tmp_path / "diary"), PICTURES.with_scorers(["jpeg"]), out=tmp_path)
    from flowbench.benchmarks.sources import RecordedSource

    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    source = benchmarks.ExistingSource(existing.read(tmp_path), "x")
    folder = benchmarks.evaluate(source, PICTURES.with_scorers(["jpeg"]), out=tmp_path / "out")
    assert not (folder / "images").exists()  # they stay where they are
    with pytest.raises(RunError, match=r"holds no pictures .* flowbench score PICTURES"):
        RecordedSource(folder)
