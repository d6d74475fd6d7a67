"""`flowbench export`: the round trip through GenEval's layout, and its mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowbench import store

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def evaluation(world: Any) -> Path:
    (folder,) = (world.run / "eval").glob("shapes-*")
    return Path(folder)


def records(folder: Path) -> list[dict[str, Any]]:
    return store.read_jsonl(folder / "records.jsonl")


def parsed(line: dict[str, Any]) -> dict[str, Any]:
    """A line of results.jsonl, without the order in which its JSON texts name the classes."""
    return {**line, "details": json.loads(line["details"]), "metadata": json.loads(line["metadata"])}


def test_scoring_an_exported_geneval_folder_gives_the_same_verdicts(flowbench: Command, tmp_path: Path) -> None:
    """Pictures of the built-in model in few steps: some are right, some are not."""
    few = ("--suite", "shapes", "--limit", "6", "--steps", "4", "--out", tmp_path / "base", "--max-error-rate", "1")
    assert flowbench("eval", "--ckpt", "shapes", *few).exit_code == 0
    (evaluation,) = (tmp_path / "base" / "eval").iterdir()
    out = tmp_path / "geneval"
    said = flowbench("export", evaluation, "--format", "geneval", "--out", out)
    assert said.exit_code == 0, said.output
    scored = flowbench("score", out, "--reward", "geneval", "--vocabulary", "shapes", "--out", tmp_path / "again")
    assert scored.exit_code == 0, scored.output
    (again,) = (tmp_path / "again" / "eval").iterdir()
    before, after = records(evaluation), records(again)
    assert len(before) == len(after) == 24
    wanted = sorted((each["prompt"], each["index"], each["value"], each["note"], each["parts"]["official"],
                     each["parts"]["strict"], json.dumps(each["details"])) for each in before)  # fmt: skip
    found = sorted((each["prompt"], each["index"], each["value"], each["note"], each["parts"]["official"],
                    each["parts"]["strict"], json.dumps(each["details"])) for each in after)  # fmt: skip
    assert found == wanted
    # GenEval's own file says the same, in its own words
    lines = store.read_jsonl(out / "results.jsonl")
    verdicts = {line["filename"]: line["correct"] for line in lines}
    assert len(verdicts) == 24 and set(verdicts.values()) == {True, False}
    assert verdicts == {str(out / each["image"]): each["parts"]["official"] == 1 for each in after}
    assert [parsed(line) for line in lines] == [parsed(line) for line in store.read_jsonl(again / "results.jsonl")]


def test_the_results_file_when_geneval_is_not_the_first_scorer() -> None:
    from flowbench.cli.export import _judged
    from flowbench.evals.evaluation import Record

    record = Record(
        *("p", 0, 7, "counting", "two cats", "images/p-0.png"),
        value=20.0,
        parts={"pickscore": 20.0, "cosine": 0.2, "geneval": 0.5, "geneval/official": 0.0},
        note="",
        notes={"geneval": "expected 2 cats, found 1"},
        details_by={"geneval": {"objects": {"cat": []}}},
    )
    judged = _judged(record)
    assert (judged.value, judged.parts["official"], judged.note) == (0.5, 0.0, "expected 2 cats, found 1")
    assert judged.details == {"objects": {"cat": []}}


@pytest.mark.parametrize("style", ["jsonl", "parquet", "datasets", "model-card"])
def test_every_other_format(flowbench: Command, evaluation: Path, tmp_path: Path, style: str) -> None:
    out = tmp_path / "out"
    said = flowbench("export", evaluation.parent.parent, "--suite", "shapes", "--format", style, "--out", out)
    assert said.exit_code == 0, said.output
    assert said.stdout == f"wrote {out}\n"
    assert flowbench("export", evaluation, "--format", style, "--out", out).exit_code == 2
    assert flowbench("export", evaluation, "--format", style, "--out", out, "--overwrite").exit_code == 0


def test_mistakes(flowbench: Command, evaluation: Path, world: Any, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("a cat\n")
    for words, why in {
        (evaluation, "--format", "geneval", "--prompts", tmp_path / "other.txt"): "was made on other prompts",
        (evaluation, "--format", "jsonl", "--prompts", tmp_path / "other.txt"): "--prompts is for",
        (world.base, "--format", "jsonl"): "holds 2 evaluations",
        (tmp_path, "--format", "jsonl"): "no finished evaluation",
        (evaluation, "--format", "word"): "'word'",
    }.items():
        said = flowbench("export", *words, "--out", tmp_path / "out")
        assert said.exit_code == 2, said.output
        assert why in said.output
    assert not (tmp_path / "out").exists()
