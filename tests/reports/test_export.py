"""Exports of an evaluation: every format read back by the program that it is for."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path

import pytest
import yaml
from evaluations import write_evaluation

from flowbench import store
from flowbench.errors import ConfigError, RunError
from flowbench.evals import load_results
from flowbench.reports.export import (
    export_datasets,
    export_geneval,
    export_jsonl,
    export_model_card,
    export_parquet,
)
from flowbench.reports.export.places import MARK
from flowbench.types import Prompt


def verdict(tag, number, index):
    """Counting 0 is unscored; else every second picture is right."""
    return None if (tag, number) == ("counting", 0) else (number + index) % 2


@pytest.fixture
def results(tmp_path):
    return load_results(write_evaluation(tmp_path / "eval", verdict, label="the <b>model</b> | 1"))


@pytest.fixture
def prompts(results):
    """The suite's: one more than was evaluated, in front."""
    texts = {record.prompt_id: (record.prompt, record.tag) for record in results.records}
    first = Prompt("not-evaluated", "x", "single_object")
    return [first, *(Prompt(key, text, tag, {"tag": tag, "include": [{"class": "é", "count": 1}], "prompt": text})
                     for key, (text, tag) in texts.items())]  # fmt: skip


def test_jsonl_holds_every_score_of_every_picture(results, tmp_path):
    lines = [json.loads(line) for line in export_jsonl(results, tmp_path / "a.jsonl").read_text().splitlines()]
    assert len(lines) == 60
    assert [(line["prompt_id"], line["index"]) for line in lines] == [record.key for record in results.records]
    by_key = {(line["prompt_id"], line["index"]): line for line in lines}
    assert by_key["counting-0", 1]["scores"] == {"value": None}
    assert by_key["counting-0", 1]["note"] == "no answer"
    assert by_key["counting-1", 0]["scores"] == {"value": 0.5, "official": 1.0}
    line = by_key["two_object-3", 1]
    assert (line["suite"], line["name"], line["seed"], line["tag"]) == ("painting", results.label, 31, "two_object")
    assert (results.folder / line["image"]).is_file()


def test_parquet_is_the_same_table_with_the_card(results, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(export_parquet(results, tmp_path / "a.parquet"))
    lines = [json.loads(line) for line in export_jsonl(results, tmp_path / "a.jsonl").read_text().splitlines()]
    rows = table.to_pylist()
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        assert row["scores/official"] == line["scores"].get("official")
        assert row["scores/value"] == line["scores"]["value"]
        assert {key: row[key] for key in ("prompt_id", "index", "seed", "image", "note")} == {
            key: line[key] for key in ("prompt_id", "index", "seed", "image", "note")
        }
    assert str(table.schema.field("scores/official").type) == "double"
    facts = json.loads(table.schema.metadata[b"flowbench"])
    assert facts["card"] == dataclasses.asdict(results.card)


def test_details_of_all_scorers_are_kept(results, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    record = dataclasses.replace(results.records[0], details_by={"ocr": {"recognized": "ünï"}})
    results.records[0] = record
    line = json.loads(export_jsonl(results, tmp_path / "a.jsonl").read_text().splitlines()[0])
    assert line["details_by"] == record.details_by
    row = parquet.read_table(export_parquet(results, tmp_path / "a.parquet")).slice(0, 1).to_pylist()[0]
    assert json.loads(row["details"]) == record.details_by


def test_without_pyarrow_it_is_said_what_to_install(results, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install .*\[export\]"):
        export_parquet(results, tmp_path / "a.parquet")
    assert not (tmp_path / "a.parquet").exists()


def test_geneval_layout(results, prompts, tmp_path):
    folder = export_geneval(results, prompts, tmp_path / "out")
    numbers = sorted(path.name for path in folder.iterdir() if path.name != MARK)
    assert numbers == [f"{number:05d}" for number in range(1, 31)]  # 0 was not evaluated
    described = json.loads((folder / "00001" / "metadata.jsonl").read_text())
    assert list(described) == ["tag", "include", "prompt"]  # as the prompt set wrote them
    assert described["prompt"] == prompts[1].text
    for place in range(1, 31):
        samples = sorted((folder / f"{place:05d}" / "samples").iterdir())
        assert [path.name for path in samples] == ["0000.png", "0001.png"]
        for index, path in enumerate(samples):
            assert path.read_bytes() == (results.folder / f"images/{prompts[place].id}-{index}.png").read_bytes()


def test_geneval_layout_of_prompts_without_metadata_says_text_and_tag(results, prompts, tmp_path):
    plain = [Prompt(prompt.id, prompt.text, prompt.tag) for prompt in prompts]
    folder = export_geneval(results, plain, tmp_path / "out")
    assert json.loads((folder / "00001" / "metadata.jsonl").read_text()) == {
        "tag": prompts[1].tag,
        "prompt": prompts[1].text,
    }
    with pytest.raises(ConfigError, match="'single_object-0' is not in the prompts given"):
        export_geneval(results, plain[:1], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_pictures_that_were_never_made_are_left_out(results, prompts, tmp_path):
    for index in (0, 1):
        (results.folder / f"images/{prompts[1].id}-{index}.png").unlink()
    folder = export_geneval(results, prompts, tmp_path / "out")
    assert not (folder / "00001").exists()
    assert (folder / "00002" / "samples" / "0000.png").is_file()


@pytest.mark.parametrize("style", ["geneval", "datasets"])
def test_a_picture_that_is_not_the_scored_one_is_not_exported(results, prompts, tmp_path, style):
    path = results.folder / results.records[0].image
    results.records[0] = dataclasses.replace(results.records[0], image_sha256=store.file_digest(path))
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(RunError, match=f"{path.name} is not the picture that was scored: damaged, or replaced"):
        if style == "geneval":
            export_geneval(results, prompts, tmp_path / "out")
        else:
            export_datasets(results, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_datasets_folder_loads(results, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    folder = export_datasets(results, tmp_path / "out")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))["train"]
    assert len(loaded) == 60
    assert {"image", "prompt", "tag", "scores/official", "scores/value", "name"} <= set(loaded.column_names)
    rows = {(row["prompt_id"], row["index"]): row for row in loaded}
    assert rows["counting-0", 0]["scores/value"] is None
    right, wrong = rows["counting-1", 0], rows["counting-1", 1]
    assert (right["scores/official"], wrong["scores/official"]) == (1.0, 0.0)
    assert right["image"].getpixel((0, 0)) == (40, 160, 60)
    assert wrong["image"].getpixel((0, 0)) == (170, 50, 40)


def test_model_card_is_what_the_hub_reads(results, tmp_path):
    from huggingface_hub import ModelCard

    path = export_model_card(results, tmp_path / "card.md")
    front = yaml.safe_load(path.read_text().split("---")[1])
    assert front["model-index"][0]["name"] == results.label
    card = ModelCard.load(path)
    found = {each.metric_type: each for each in card.data.eval_results}
    official = results.interval("official")
    assert found["official"].metric_value == official.mean
    assert found["official"].dataset_name == "painting"
    assert f"{official.low:.4f} to {official.high:.4f}" in found["official"].metric_name
    text = card.text
    assert f"| official (headline) | {official.mean:.4f} | {official.low:.4f} to {official.high:.4f} | 58 |" in text
    assert "&lt;b&gt;model&lt;/b&gt; \\| 1" in text
    assert "| declared: guidance | 1.0 |" in text
    assert "flowbench eval --ckpt painter --suite painting" in text


def test_a_metric_without_a_number_stands_in_the_table_only(tmp_path):
    folder = write_evaluation(tmp_path / "eval", lambda tag, number, index: None)
    summary = store.read_sealed(folder / "summary.json")
    summary["scorers"][0] |= {"name": "pickscore", "status": "not run", "reason": "no weights | here"}
    store.write_sealed(folder / "summary.json", summary)
    text = export_model_card(load_results(folder), tmp_path / "card.md").read_text()
    assert "- pickscore was not run: no weights \\| here" in text
    assert "| official (headline) | – | – |" in text
    assert not math.isnan(len(yaml.safe_load(text.split("---")[1])["model-index"]))
    assert "nan" not in text.lower()


FOLDERS = {
    "geneval": lambda results, prompts, out, **how: export_geneval(results, prompts, out, **how),
    "datasets": lambda results, prompts, out, **how: export_datasets(results, out, **how),
}
FILES = {"jsonl": export_jsonl, "parquet": export_parquet, "model-card": export_model_card}


@pytest.mark.parametrize("style", FOLDERS)
def test_a_folder_is_replaced_only_when_it_is_an_export(results, prompts, tmp_path, style):
    write, out = FOLDERS[style], tmp_path / "out"
    (out / "own").mkdir(parents=True)
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="not empty" if not overwrite else "no export has written"):
            write(results, prompts, out, overwrite=overwrite)
    assert [path.name for path in out.iterdir()] == ["own"]
    (out / "own").rmdir()
    write(results, prompts, out)  # an empty folder is free
    (out / "stale.png").write_bytes(b"")
    with pytest.raises(ConfigError, match="--overwrite"):
        write(results, prompts, out)
    write(results, prompts, out, overwrite=True)
    assert not (out / "stale.png").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"eval", "out"}  # nothing temporary is left
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is a file"):
        write(results, prompts, tmp_path / "file", overwrite=True)


@pytest.mark.parametrize("style", FOLDERS)
def test_an_export_that_fails_leaves_what_was_there(results, prompts, tmp_path, style):
    write, out = FOLDERS[style], tmp_path / "out"
    write(results, prompts, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    results.records[-1] = dataclasses.replace(results.records[-1], image="../eval/../../etc/passwd")
    with pytest.raises(RunError, match="lies outside"):
        write(results, prompts, out, overwrite=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"eval", "out"}


@pytest.mark.parametrize("style", FILES)
def test_a_file_is_overwritten_only_when_asked(results, tmp_path, style):
    out = tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(ConfigError, match="--overwrite"):
        FILES[style](results, out)
    assert out.read_text() == "mine"
    FILES[style](results, out, overwrite=True)
    assert out.read_bytes() != b"mine"
    with pytest.raises(ConfigError, match="is a folder"):
        FILES[style](results, Path(tmp_path / "eval"), overwrite=True)


@pytest.mark.parametrize("style", FOLDERS)
def test_an_evaluation_without_pictures_has_nothing_for_a_folder(results, prompts, tmp_path, style):
    for path in (results.folder / "images").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="holds no pictures"):
        FOLDERS[style](results, prompts, tmp_path / "out")
