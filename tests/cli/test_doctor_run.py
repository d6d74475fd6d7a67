"""`flowbench doctor run`: which evaluation is of which checkpoint, and what is said where there are too few."""

from __future__ import annotations

import json
import shutil

import pytest

from flowbench.models.adapter_files import FILES


def table(result):
    assert result.exit_code == 0, result.output
    (course,) = json.loads(result.stdout)["courses"]
    return course


def test_a_run_and_its_base(world, flowbench):
    """The base is there at guidance 1 and 3; the run was evaluated at 1, so that only this one is its beginning."""
    course = table(flowbench("doctor", "run", world.run, "--evaluations", world.base, "--format", "json"))
    assert [point["step"] for point in course["points"]] == [0, 2]
    assert course["declared"]["guidance"] == 1
    assert course["points"][0]["moved"]["saturation"] == 0
    shown = " ".join(flowbench("doctor", "run", world.run, "--evaluations", world.base).stdout.split())
    assert "shapes, steps 2, guidance 1" in shown and "Brackets: 95 % interval over prompts" in shown


def test_somebody_elses_adapters(world, flowbench, tmp_path):
    """Folders with adapters alone, by the number in their names; other folders do not matter."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "ckpt-7").mkdir()
    for name in FILES:
        if (world.run / "checkpoints" / "step-000002" / name).is_file():
            shutil.copy(world.run / "checkpoints" / "step-000002" / name, tmp_path / "ckpt-7" / name)
    words = ("doctor", "run", tmp_path, "--evaluations", world.base, "--evaluations", world.run, "--format", "json")
    assert [point["step"] for point in table(flowbench(*words))["points"]] == [0, 7]
    published = tmp_path / "theirs"  # as Flow-GRPO's own code writes it
    (published / "checkpoints").mkdir(parents=True)
    (published / "config.yaml").write_text("somebody: else\n")
    shutil.copytree(tmp_path / "ckpt-7", published / "checkpoints" / "checkpoint-7" / "lora")
    for folder in (published, published / "checkpoints"):
        theirs = flowbench("doctor", "run", folder, *words[3:])
        assert [point["step"] for point in table(theirs)["points"]] == [0, 7]
    shutil.copytree(tmp_path / "ckpt-7", tmp_path / "epoch-7")
    twice = flowbench(*words)
    assert twice.exit_code == 2 and "ckpt-7 and epoch-7 are both of step 7" in twice.stderr


def test_too_few_evaluations_say_how_to_make_more(world, flowbench, tmp_path):
    alone = flowbench("doctor", "run", world.run)
    assert alone.exit_code == 2 and "1 the only one under its settings" in alone.stderr
    wanted = f"--ckpt {world.run / 'checkpoints' / 'step-000002'} --suite shapes_dev --out {world.run}."
    assert f"{wanted}" in alone.stderr and "flowbench eval --ckpt" in alone.stderr.partition(", then ")[0]
    none = flowbench("doctor", "run", tmp_path)
    assert none.exit_code == 2 and "neither checkpoints of a run nor folders with adapters" in none.stderr
    nowhere = flowbench("doctor", "run", tmp_path / "gone")
    assert nowhere.exit_code == 2 and "no such folder" in nowhere.stderr


def test_a_run_whose_card_is_damaged_has_no_beginning(world, flowbench, tmp_path):
    copy = shutil.copytree(world.run, tmp_path / "copy")
    card = json.loads((copy / "card.json").read_text())
    card["must_agree"]["start"] = "f00"
    (copy / "card.json").write_text(json.dumps(card))
    edited = flowbench("doctor", "run", copy, "--evaluations", world.base)
    assert edited.exit_code == 2 and "card.json" in edited.stderr
    (copy / "card.json").unlink()
    gone = flowbench("doctor", "run", copy, "--evaluations", world.base)
    assert gone.exit_code == 2 and "nobody knows what the run began from" in gone.stderr


@pytest.mark.parametrize(("gold", "why"), [("exclusiv", "Did you mean 'exclusive'"), ("layout", "do not all have it")])
def test_an_unknown_gold(world, flowbench, gold, why):
    result = flowbench("doctor", "run", world.run, "--evaluations", world.base, "--gold", gold)
    assert result.exit_code == 2 and why in result.stderr
