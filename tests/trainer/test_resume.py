"""Killed anywhere and resumed, a run ends with the log and the adapter of the uninterrupted one, to the bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_runs
import torch

from flowbench import store
from flowbench.config import load_config
from flowbench.errors import RunError
from flowbench.foreign_code import interrupts_noted
from flowbench.run_config import sealed_text
from flowbench.trainer import train
from flowbench.trainer.interrupt import Interruption
from flowbench.trainer.runs import check_folder, stored_config

HERE = Path(__file__).parent
KILLED = -signal.SIGKILL
ENDS = {
    "before any step": KILLED,
    "in the first rollout": KILLED,
    "in the rollout of step 4": KILLED,
    "between two updates of step 4": KILLED,
    "in the log line of step 4": KILLED,
    "after a log line, before its checkpoint": KILLED,
    "between the files of a checkpoint": KILLED,
    "inside the first file of a checkpoint": KILLED,
    "before a checkpoint is renamed": KILLED,
    "after the rename, before latest": KILLED,
    "while an old checkpoint is deleted": KILLED,
    "in the last step": KILLED,
    "SIGTERM": 143,
    "SIGINT": 130,
    "two SIGINTs": 99,  # a KeyboardInterrupt at once
}


@pytest.fixture(scope="module")
def ended(pipeline, tmp_path_factory):
    """(folder of all runs, how their processes ended)."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, str(HERE / "kill_me.py"), str(pipeline), str(folder)]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, json.loads((folder / "statuses.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("place", ENDS)
def test_a_resumed_run_equals_the_uninterrupted_one(ended, place):
    folder, statuses = ended
    assert statuses["uninterrupted"] == [0]
    assert statuses[place] == [ENDS[place], 0]
    run, reference = folder / place / "run", folder / "uninterrupted" / "run"
    assert tiny_runs.log_without_timing(run) == tiny_runs.log_without_timing(reference)
    assert [record["step"] for record in tiny_runs.log_without_timing(run)] == [1, 2, 3, 4, 5]
    assert tiny_runs.adapter_bytes(run) == tiny_runs.adapter_bytes(reference)
    assert tiny_runs.trainer_state(run) == tiny_runs.trainer_state(reference)
    sheet = Path("samples") / "step-000005.png"
    assert (run / sheet).read_bytes() == (reference / sheet).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_step_and_saves_it(ended, place):
    """It came in the third step, whose checkpoint is not due: save_every is 2."""
    left = ended[0] / place / "left"
    assert (left / "checkpoints" / "latest").read_text() == "step-000003\n"
    assert len(tiny_runs.log_without_timing(left)) == 3


@pytest.mark.slow
def test_what_the_kills_left_behind_was_really_unfinished(ended):
    """Guards the test above: each kill struck where it was meant to."""
    folder = ended[0]
    latest = {place: folder / place / "left" / "checkpoints" / "latest" for place in ENDS}
    assert not latest["in the first rollout"].exists()
    assert latest["after the rename, before latest"].read_text() == "step-000002\n"
    assert (latest["after the rename, before latest"].parent / "step-000004").is_dir()
    assert (latest["between the files of a checkpoint"].parent / ".step-000004.tmp").is_dir()
    assert not (latest["between the files of a checkpoint"].parent / "step-000004").exists()
    assert not (latest["while an old checkpoint is deleted"].parent / "step-000002" / "trainer.json").exists()
    torn = folder / "in the log line of step 4" / "left" / "log.jsonl"
    assert not torn.read_bytes().endswith(b"\n")
    ahead = folder / "after a log line, before its checkpoint" / "left"
    assert (
        len(tiny_runs.log_without_timing(ahead)) == 4
    )  # the log is ahead of the checkpoint: its lines are cut and redone


def test_an_error_in_the_middle_then_resume(pipeline, tmp_path, monkeypatch):
    """The same in one process, quick: a run that fails in its fourth step goes on to the reference's end."""
    reference = train(tiny_runs.config(pipeline, tmp_path / "reference", steps=5))
    with tiny_runs.power_cut(monkeypatch, after=14):
        train(tiny_runs.config(pipeline, tmp_path / "run", steps=5))
    assert len(tiny_runs.log_without_timing(tmp_path / "run")) == 3
    run = train(tiny_runs.config(pipeline, tmp_path / "run", steps=5), resume=True)
    assert tiny_runs.log_without_timing(run) == tiny_runs.log_without_timing(reference)
    assert tiny_runs.adapter_bytes(run) == tiny_runs.adapter_bytes(reference)
    assert tiny_runs.trainer_state(run) == tiny_runs.trainer_state(reference)


def test_the_seed_decides_the_run(pipeline, tmp_path):
    """Guards the comparisons above: another seed gives another log and another adapter."""
    one = train(tiny_runs.config(pipeline, tmp_path / "one", steps=1))
    two = train(tiny_runs.config(pipeline, tmp_path / "two", steps=1, seed=1))
    assert tiny_runs.log_without_timing(one) != tiny_runs.log_without_timing(two)
    assert tiny_runs.adapter_bytes(one) != tiny_runs.adapter_bytes(two)


def test_a_finished_run_can_be_made_longer(pipeline, tmp_path):
    reference = train(tiny_runs.config(pipeline, tmp_path / "reference", steps=3))
    run = train(tiny_runs.config(pipeline, tmp_path / "run", steps=1))
    run = train(tiny_runs.config(pipeline, tmp_path / "run", steps=3), resume=True)
    assert tiny_runs.log_without_timing(run) == tiny_runs.log_without_timing(reference)
    assert tiny_runs.adapter_bytes(run) == tiny_runs.adapter_bytes(reference)
    assert train(tiny_runs.config(pipeline, tmp_path / "run", steps=3), resume=True) == run  # nothing left to do
    assert len(tiny_runs.log_without_timing(run)) == 3


def test_a_second_run_on_the_same_folder_is_refused(pipeline, tmp_path):
    out = tmp_path / "run"
    with store.locked(out), pytest.raises(RunError, match=f"in use by process {os.getpid()}"):
        train(tiny_runs.config(pipeline, out))
    assert [path.name for path in out.iterdir()] == [".lock"]  # and it wrote nothing


def test_a_run_is_never_overwritten_nor_resumed_with_other_settings(pipeline, tmp_path):
    run = train(tiny_runs.config(pipeline, tmp_path / "run", steps=1))
    before = tiny_runs.adapter_bytes(run)
    with pytest.raises(RunError, match="already holds a run"):
        train(tiny_runs.config(pipeline, run, steps=2))
    with pytest.raises(RunError, match=r"was started with seed = 0, not 7"):
        train(tiny_runs.config(pipeline, run, steps=2, seed=7), resume=True)
    assert tiny_runs.adapter_bytes(run) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match="holds files but no training run"):
        train(tiny_runs.config(pipeline, tmp_path / "mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_run_does_not_go_on_with_other_prompts_or_weights(pipeline, tmp_path):
    """Neither would a traceback tell, and the numbers would be of two different runs."""
    (tmp_path / "mine.txt").write_text("a photo of a star\na photo of a heart\n")
    settings = tiny_runs.config(pipeline, tmp_path / "run", prompts__name=str(tmp_path / "mine.txt"), steps=1)
    run = train(settings)
    log = (run / "log.jsonl").read_bytes()
    card = store.read_sealed(run / "card.json")
    assert card["noted"]["processes"] == 1 and card["noted"]["threads"] == torch.get_num_threads()
    longer = settings.model_copy(update={"steps": 2})
    (tmp_path / "mine.txt").write_text("a photo of a star\na photo of a heart\na photo of a cross\n")
    with pytest.raises(RunError, match="started with other training prompts than are there now"):
        train(longer, resume=True)
    (tmp_path / "mine.txt").write_text("a photo of a star\na photo of a heart\n")
    for key, words in [("weights", "weights of the base model"), ("code", "code of its plugin")]:
        store.write_sealed(run / "card.json", {**card, "must_agree": {**card["must_agree"], key: "another"}})
        with pytest.raises(RunError, match=f"started with other {words} than are there now"):
            train(longer, resume=True)
    store.write_json(run / "card.json", {**card, "format": 1})
    with pytest.raises(RunError, match=r"was begun by another version of flowbench: start a new run with another"):
        train(longer, resume=True)
    assert (run / "log.jsonl").read_bytes() == log
    store.write_sealed(run / "card.json", card)
    assert len(tiny_runs.log_without_timing(train(longer, resume=True))) == 2


def test_a_signal_counts_even_when_nobody_reads_its_answer(monkeypatch):
    """Ctrl-C in `flowbench train | tee log` ends tee as well: the write fails, the request must not."""
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(BrokenPipeError()))
    with Interruption().listening() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.signal == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGINT)  # torchrun passes on what a scheduler has sent already: the same request
        assert interruption.signal == signal.SIGTERM
        monkeypatch.setattr("flowbench.trainer.interrupt.DOUBLED", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_ctrl_c_that_the_libraries_swallowed_at_the_start_ends_the_run():
    """While they were imported; once it listens, no KeyboardInterrupt is raised that they could swallow."""
    with interrupts_noted():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), Interruption().listening():
            pytest.fail("it begins")


def test_a_config_of_another_tool_is_named(tmp_path):
    for content in (b"services: [web]\n", b"caf\xe9: 1\n"):
        (tmp_path / "config.yaml").write_bytes(content)
        with pytest.raises(RunError, match=r"config\.yaml is not the configuration of a flowbench run"):
            stored_config(tmp_path)
        with pytest.raises(RunError, match="holds files but no training run"):
            check_folder(tmp_path, load_config("shapes-geneval"), resume=False)


def test_a_configuration_of_ones_own_is_not_overwritten(pipeline, tmp_path):
    text = "# notes that I would miss\nsteps: 1\n"
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RunError, match="holds files but no training run"):
        train(tiny_runs.config(pipeline, tmp_path, steps=1))
    assert (tmp_path / "config.yaml").read_text() == text


def test_a_run_that_ended_before_its_first_step_may_begin_again(pipeline, tmp_path):
    settings = tiny_runs.config(pipeline, tmp_path, steps=1)
    (tmp_path / "config.yaml").write_text(sealed_text(settings))
    (tmp_path / "tensorboard").mkdir()
    assert train(settings) == tmp_path


def test_a_kill_in_the_first_write_does_not_lock_the_folder_out(pipeline, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / ".config.yaml.123.tmp").write_text("half")
    assert train(tiny_runs.config(pipeline, out, steps=1)) == out


def test_stored_config_is_the_configuration_wherever_the_folder_is_now(pipeline, tmp_path):
    run = train(tiny_runs.config(pipeline, tmp_path / "run", steps=1))
    moved = run.rename(tmp_path / "2026-07-01")  # a date, if one took it for YAML
    assert stored_config(moved) == tiny_runs.config(pipeline, moved, steps=1)
    with pytest.raises(RunError, match="no training run"):
        stored_config(tmp_path)


def test_only_the_newest_checkpoints_are_kept(pipeline, tmp_path):
    run = train(tiny_runs.config(pipeline, tmp_path / "run", steps=4, save_every=1, keep=2))
    folder = run / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["latest", "step-000003", "step-000004"]
    assert (folder / "latest").read_text() == "step-000004\n"


def test_nothing_in_a_run_folder_is_pickled(pipeline, tmp_path):
    """torch.save writes zip archives, pickle's protocols 2 and up begin with 0x80."""
    run = train(tiny_runs.config(pipeline, tmp_path / "run", steps=1))
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert all(not path.read_bytes().startswith((b"PK", b"\x80")) for path in files)
