"""Damage to a run's folder is found and named: the newest whole checkpoint is taken and said so, or nothing is done."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import tiny_runs

from flowbench import store
from flowbench.checkpoints import newest_whole, read_header
from flowbench.errors import RunError
from flowbench.layout import RunFolder
from flowbench.trainer import train, training
from flowbench.trainer.runs import stored_config

STATE, WEIGHTS, HEADER = "trainer.safetensors", "pytorch_lora_weights.safetensors", "trainer.json"


@pytest.fixture(scope="module")
def reference(pipeline, tmp_path_factory):
    """Four steps, with the checkpoints after each of the last three."""
    out = tmp_path_factory.mktemp("damaged") / "run"
    return train(tiny_runs.config(pipeline, out, steps=4, save_every=1, keep=3))


@pytest.fixture
def run(reference, tmp_path):
    """The same after its third step."""
    copied = shutil.copytree(reference, tmp_path / "run")
    shutil.rmtree(copied / "checkpoints/step-000004")
    (copied / "checkpoints/latest").write_text("step-000003\n")
    change_log(copied, lambda lines: lines[:3])
    return copied


def change_log(run: Path, change) -> None:
    lines = (run / "log.jsonl").read_text().splitlines(keepends=True)
    (run / "log.jsonl").write_text("".join(change(lines)))


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


DAMAGE = {
    "a bit of the state": (lambda folder: flip(folder / STATE), rf"{STATE}: damaged \(its SHA-256 is not"),
    "a cut adapter": (lambda folder: cut(folder / WEIGHTS), rf"{WEIGHTS}: damaged \(its SHA-256 is not"),
    "a lost file": (lambda folder: (folder / "adapter_config.json").unlink(), r"adapter_config\.json: it is missing"),
    "a foreign file": (lambda folder: (folder / "more.json").touch(), r"more\.json: it is no file of this checkpoint"),
    "no header": (lambda folder: (folder / HEADER).unlink(), rf"{HEADER}: it is missing"),
    "another number in the header": (
        lambda folder: store.write_json(folder / HEADER, {**store.read_json(folder / HEADER), "updates": 7}),
        rf"{HEADER}: damaged, or edited by hand",
    ),
    "a header of another type": (lambda folder: (folder / HEADER).write_text("[]"), rf"{HEADER}: a list where"),
    "a header without hashes": (
        lambda folder: store.write_json(folder / HEADER, {"step": 3, "updates": 6}),
        rf"{HEADER} was written by an earlier flowbench",
    ),
    "another one's name": (
        lambda folder: (shutil.rmtree(folder), shutil.copytree(folder.with_name("step-000002"), folder)),
        "step-000003: it holds step 2",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_newest_whole_checkpoint_is_taken_and_the_damaged_one_named(run, kind):
    damage, words = DAMAGE[kind]
    identity = read_header(run / "checkpoints/step-000003").run
    damage(run / "checkpoints/step-000003")
    (found, header), said = newest_whole(RunFolder(run), identity)
    assert (found.name, header.step) == ("step-000002", 2)
    assert re.search(words, said[0])
    assert said[1] == "going on from step-000002, the newest checkpoint that is whole."


def test_what_nobody_reads_is_no_damage(run):
    folder = run / "checkpoints/step-000003"
    header = read_header(folder)
    (folder / "README.md").write_text("published")
    (folder / ".DS_Store").touch()
    assert newest_whole(RunFolder(run), header.run) == ((folder, header), [])


@pytest.mark.parametrize(
    ("pointer", "said"),
    [
        (None, "latest is missing."),
        ("", "latest names nothing, which is not there."),
        ("../../other\n", "latest names ../../other, which is not there."),
        ("step-000009\n", "latest names step-000009, which is not there."),
        (b"\xff\x00", "latest names \ufffd\x00, which is not there."),
    ],
)
def test_a_lost_pointer_is_no_start_at_step_0(run, pointer, said):
    path = run / "checkpoints/latest"
    path.unlink()
    if pointer is not None:
        path.write_bytes(pointer if isinstance(pointer, bytes) else pointer.encode())
    found, lines = newest_whole(RunFolder(run), read_header(run / "checkpoints/step-000003").run)
    assert found[0].name == "step-000003"
    assert lines[0].endswith(said) and lines[1].startswith("going on from step-000003")


def test_a_resumed_run_says_what_was_damaged_and_ends_as_the_whole_one(pipeline, reference, run, capsys):
    flip(run / "checkpoints/step-000003" / STATE, 5000)
    train(tiny_runs.config(pipeline, run, steps=4, save_every=1, keep=3), resume=True)
    assert "going on from step-000002, the newest checkpoint that is whole." in capsys.readouterr().err
    assert tiny_runs.log_without_timing(run) == tiny_runs.log_without_timing(reference)
    assert tiny_runs.adapter_bytes(run) == tiny_runs.adapter_bytes(reference)
    assert tiny_runs.trainer_state(run) == tiny_runs.trainer_state(reference)


def test_without_a_whole_checkpoint_nothing_is_done(pipeline, run):
    for folder in (run / "checkpoints").glob("step-*"):
        flip(folder / STATE)
    with pytest.raises(RunError, match=r"no checkpoint is whole\. .*step-000003.* .*step-000002.* Restore one"):
        train(tiny_runs.config(pipeline, run, steps=4, save_every=1), resume=True)


def test_a_checkpoint_of_another_run_is_not_taken(run):
    with pytest.raises(RunError, match=r"step-000003: it is a checkpoint of another run"):
        newest_whole(RunFolder(run), "another run")


def test_lost_checkpoints_do_not_delete_the_log(pipeline, run):
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(RunError, match=r"no checkpoint is here, and .*log\.jsonl tells of 3 steps\. Restore the"):
        train(tiny_runs.config(pipeline, run, steps=4, save_every=1), resume=True)
    assert len(tiny_runs.log_without_timing(run)) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[1:], "1 of 3 lines are lost, the first of step 1."),
        (lambda lines: [], "3 of 3 lines are lost, the first of step 1."),
        (lambda lines: [lines[0], *lines], "step 1 stands there twice."),
        (lambda lines: [lines[0], lines[1].replace(": 0.", ": 1.", 1), lines[2]], "its lines were changed."),
    ],
)
def test_a_changed_log_is_noticed(pipeline, run, capsys, change, said):
    change_log(run, change)
    train(tiny_runs.config(pipeline, run, steps=3, save_every=1), resume=True)
    assert f"log.jsonl: {said} The run goes on; they are not made again." in capsys.readouterr().err


@pytest.mark.parametrize("line", ['{"step": "1"}', '{"stop": 1}', '{"step": true}'])
def test_a_log_line_without_a_step_is_named(pipeline, run, line):
    change_log(run, lambda lines: [lines[0], f"{line}\n", lines[2]])
    with pytest.raises(RunError, match=r"log\.jsonl, line 2: its 'step' is no whole number\. Repair or delete"):
        train(tiny_runs.config(pipeline, run, steps=3, save_every=1), resume=True)


def cut_config(text: str) -> str:
    return text[: text.index("optimizer:")]


def without_a_setting(text: str) -> str:
    return text.replace("  ema_every: 1\n", "")


def edited(text: str) -> str:
    return text.replace("steps: 4\n", "steps: 400\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (cut_config, "or not whole: the last line of such a file"),
        (lambda text: text[:-30], "or not whole: the last line of such a file"),
        (without_a_setting, "damaged, or edited by hand"),
        (edited, r"edited by hand: .* what may change is given when the run goes on: --steps 300, keep=5"),
    ],
)
def test_a_config_that_is_not_as_it_was_written_is_refused(pipeline, run, change, words):
    path = run / "config.yaml"
    changed = change(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    for use in (stored_config, lambda folder: train(tiny_runs.config(pipeline, folder, steps=4), resume=True)):
        with pytest.raises(RunError, match=rf"config\.yaml is .*{words}"):
            use(run)
    assert path.read_text() == changed


def test_a_lost_or_edited_card_is_refused(pipeline, run):
    card = run / "card.json"
    tree = json.loads(card.read_text())
    tree["noted"]["processes"] = 3
    card.write_text(json.dumps(tree))
    settings = tiny_runs.config(pipeline, run, steps=4, save_every=1)
    with pytest.raises(RunError, match=r"card\.json: damaged, or edited by hand"):
        train(settings, resume=True)
    for text in ("[]", "null", "{}"):
        card.write_text(text)
        with pytest.raises(RunError, match=r"card\.json is damaged: it is no card of a run"):
            train(settings, resume=True)
    card.unlink()
    with pytest.raises(RunError, match=r"card\.json is missing"):
        train(settings, resume=True)


@pytest.mark.parametrize("what", ["moved", "deleted"])
def test_a_folder_that_goes_away_ends_the_run_and_is_not_made_again(pipeline, tmp_path, monkeypatch, what):
    out, take = tmp_path / "run", training._take

    def and_it_is_gone(run, step):
        figures = take(run, step)
        if step == 1:
            out.rename(tmp_path / "elsewhere") if what == "moved" else shutil.rmtree(out)
        return figures

    monkeypatch.setattr(training, "_take", and_it_is_gone)
    with pytest.raises(RunError, match=r"run was moved or deleted while this process worked in it"):
        train(tiny_runs.config(pipeline, out, steps=3))
    assert not out.exists()
    if what == "moved":
        assert len(tiny_runs.log_without_timing(tmp_path / "elsewhere")) == 1
