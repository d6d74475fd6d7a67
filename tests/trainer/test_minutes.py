"""`--minutes N`: a run ends at a checkpoint, and going on leaves no trace of it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tiny_runs

from flowbench.trainer import train
from flowbench.trainer import training as loop


def test_it_stops_after_the_step_in_which_time_is_up_and_goes_on_to_the_same_bytes(pipeline, tmp_path):
    whole = train(tiny_runs.config(pipeline, tmp_path / "whole", steps=3))
    settings = tiny_runs.config(pipeline, tmp_path / "parts", steps=3)
    parts = train(settings, minutes=1e-6)
    assert len(tiny_runs.log_without_timing(parts)) == 1
    assert (parts / "checkpoints" / "latest").read_text() == "step-000001\n"
    train(settings, minutes=1e-6, resume=True)
    assert len(tiny_runs.log_without_timing(parts)) == 2
    train(settings, minutes=60, resume=True)
    assert tiny_runs.log_without_timing(parts) == tiny_runs.log_without_timing(whole)
    assert tiny_runs.adapter_bytes(parts) == tiny_runs.adapter_bytes(whole)
    assert tiny_runs.trainer_state(parts) == tiny_runs.trainer_state(whole)
    assert "minutes" not in (parts / "config.yaml").read_text()


def test_the_clock_is_that_of_the_call(pipeline, tmp_path, monkeypatch):
    """Three steps of 25 seconds each, half a minute: the second step is the last."""
    now = [0.0]

    def take(run, step):
        now[0] += 25.0
        return took(run, step)

    def tick():
        now[0] += 1e-6
        return now[0]

    took = loop._take
    monkeypatch.setattr(loop, "_take", take)
    monkeypatch.setattr(loop.time, "monotonic", tick)
    run = train(tiny_runs.config(pipeline, tmp_path / "run", steps=3), minutes=0.5)
    assert [line["step"] for line in tiny_runs.log_without_timing(run)] == [1, 2]


@pytest.mark.slow
def test_the_command_says_how_to_go_on_and_exits_with_0(tmp_path):
    small = ["rollout.groups=2", "rollout.bundle=1", "rollout.group_size=4", "rollout.micro_batch=4"]
    small += ["optimizer.updates=1"]
    flowbench = [sys.executable, "-m", "flowbench", "train"]
    words = ["--reward", "jpeg", "--steps", "3", "--minutes", "0.001", "--processes", "2"]
    out = ["--out", str(tmp_path / "run")]
    done = subprocess.run([*flowbench, *words, *out, *small], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = "the 0.001 minutes are over after step 1 of 3; go on with: flowbench train --resume"
    assert done.stderr.count(said) == 1
    assert (tmp_path / "run" / "checkpoints" / "step-000001" / "trainer.json").is_file()
    resumed = [*flowbench, "--resume", str(tmp_path / "run"), "--minutes", "60"]
    done = subprocess.run(resumed, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "minutes are over" not in done.stderr, done.stderr
    assert len(tiny_runs.log_without_timing(tmp_path / "run")) == 3


@pytest.mark.parametrize("value", ["0", "-1", "nan", "1e9", "soon"])
def test_other_times_are_refused(value):
    from click.testing import CliRunner

    from flowbench.cli import main

    result = CliRunner().invoke(main, ["train", "--reward", "jpeg", "--minutes", value])
    assert result.exit_code == 2 and "--minutes" in result.output
