"""`flowbench leakage`: what it takes, what it shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[..., Any]


def test_shapes_by_text_and_by_slot(flowbench: Command) -> None:
    said = flowbench("leakage", "shapes", "shapes", "--format", "json")
    data = json.loads(said.stdout)
    assert (data["training"]["name"], data["evaluation"]["name"]) == ("shapes:train", "suite shapes")
    assert data["text"]["single_object"]["text"] == data["text"]["single_object"]["prompts"] == 8
    assert data["text"]["position"]["text"] == 0
    slots = {(row["tag"], row["slot"]): (row["shared"], row["evaluated"]) for row in data["slots"]}
    assert slots["two_object", "content"] == (28, 28)
    assert slots["position", "content"][0] == slots["color_attr", "content"][0] == 0
    assert "text" not in {slot for _, slot in slots}


def test_files_without_a_template(flowbench: Command, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a red fox jumping over it\nA DOG\na cat\n")
    (tmp_path / "test.txt").write_text("a red fox jumping\na dog!\na cat\na bird\n")
    said = flowbench("leakage", tmp_path / "train.txt", tmp_path / "test.txt", "--examples", "1", "--format", "csv")
    assert said.exit_code == 0
    lines = said.stdout.splitlines()
    assert lines[:2] == ["tag,prompts,text,words,near,contained", "all,4,1,1,1,0"]
    assert lines[3:] == [
        "kind,similarity,evaluation prompt,training prompt",
        "text,1.00,a cat,a cat",
        "words,1.00,a dog!,A DOG",
        "near,0.50,a red fox jumping,a red fox jumping over it",
    ]
    out = tmp_path / "leakage.md"
    flowbench("leakage", tmp_path / "train.txt", tmp_path / "test.txt", "--least", "0.6", "--out", out)
    assert "| all | 4 | 1 | 1 | 0 | 1 |" in out.read_text()
    assert "by slot" not in out.read_text()


def test_the_way_out_is_one_that_leakage_has(flowbench: Command, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("FLOWBENCH_CACHE", str(tmp_path))
    said = flowbench("leakage", "shapes", "dpg")
    assert said.exit_code == 2
    assert "let a file of your own stand in the set's place (in train and eval: --prompts FILE)." in said.stderr


def test_splits_a_run_and_mistakes(flowbench: Command, world: Any, tmp_path: Path) -> None:
    of_run = json.loads(flowbench("leakage", world.run, "shapes:dev", "--format", "json").stdout)
    by_name = json.loads(flowbench("leakage", "shapes:train", "shapes:dev", "--format", "json").stdout)
    assert of_run["training"]["name"] == f"{world.run} (shapes)"
    assert {key: value for key, value in of_run.items() if key != "training"} == {
        key: value for key, value in by_name.items() if key != "training"
    }
    for words in (("shapes:nothing", "shapes"), ("shapes", "shappes"), ("shapes", tmp_path / "missing.txt")):
        said = flowbench("leakage", *words)
        assert said.exit_code == 2, said.output
    (tmp_path / "odd.jsonl").write_text('{"prompt": "a cat", "include": [{"name": "cat"}]}\n')
    said = flowbench("leakage", "shapes", tmp_path / "odd.jsonl")
    assert said.exit_code == 2
    assert "not as GenEval writes it" in said.output
