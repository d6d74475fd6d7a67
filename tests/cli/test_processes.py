"""`--processes 2`: really two, one mistake told once, a signal saved once. Real processes over gloo."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from small import SMALL

from flowbench import store

pytestmark = pytest.mark.slow


def start(*words: str | Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("WORLD_SIZE", "RANK")}
    return subprocess.Popen(
        [sys.executable, "-m", "flowbench", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**environment, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.alone
def test_killed_launcher_takes_its_processes_along(tiny_model: Path, tmp_path: Path) -> None:
    """After kill -9 nothing goes on training, so that the run can be resumed at once."""
    run = tmp_path / "run"
    words = ("--model", tiny_model, "--steps", "100000", "--out", run, "--processes", "2")
    training = start("train", *words, *SMALL, "save_every=1")
    deadline = time.monotonic() + 300
    while not (run / "checkpoints" / "latest").is_file() and training.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    training.kill()
    training.communicate(timeout=60)  # returns when no process holds its pipes any more
    steps = len(store.read_jsonl(run / "log.jsonl"))
    resumed = start("train", "--resume", run, "--steps", str(steps + 1))
    _, stderr = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, stderr
    assert len(store.read_jsonl(run / "log.jsonl")) == steps + 1


@pytest.mark.parametrize(
    ("setting", "cores", "expected"),
    [
        ("model.device=cpu", 1, 1),
        ("model.device=cpu", 2, 2),
        ("model.device=cpu", 3, 2),  # 4 bundles of 2 groups are not dealt to 3
        ("model.device=cpu", 64, 4),
        ("rollout.groups=6", 6, 3),
        ("rollout.groups=64", 64, 8),
        ("model.device=cuda", 8, 1),
        ("model.name=some/folder", 8, 1),
    ],
)
def test_processes_when_nobody_says(setting: str, cores: int, expected: int, monkeypatch: Any) -> None:
    from flowbench.cli.train_processes import fitting_processes
    from flowbench.config import load_config

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert fitting_processes(load_config("shapes-flow_grpo", ["model.device=cpu", setting])) == expected


@pytest.mark.parametrize(("text", "cores"), [("max 100000\n", None), ("200000 100000\n", 2), ("50000 100000\n", 1)])
def test_a_container_may_grant_fewer_cores(text: str, cores: int | None, tmp_path: Path) -> None:
    from flowbench.cli.machine import _quota

    (tmp_path / "cpu.max").write_text(text)
    assert _quota(tmp_path / "cpu.max") == cores
    assert _quota(tmp_path / "none") is None


HANGS = """
import pathlib, time
from flowbench import Score
from flowbench.rewards import register

@register("hangs")
def hangs(*, mark: str):
    def score(samples):
        pathlib.Path(mark).touch()
        time.sleep(600)
    return score
"""


@pytest.mark.alone
@pytest.mark.parametrize("processes", [1, 2])
def test_a_second_ctrl_c_does_not_wait_for_a_reward_that_hangs(
    processes: int, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    mark = tmp_path / "called"
    words = ("--plugin", tmp_path / "hangs.py", "--reward", "hangs", "--model", tiny_model, "--out", tmp_path / "run")
    training = start(
        "train", *words, *SMALL, f"reward.options={{hangs: {{mark: {mark}}}}}", "--processes", str(processes)
    )
    deadline = time.monotonic() + 300
    while not mark.is_file() and training.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(3)  # the rollout has ended, the trainer waits for the reward
    training.send_signal(signal.SIGINT)
    time.sleep(2)
    assert training.poll() is None  # the first asks to finish the step
    training.send_signal(signal.SIGINT)
    _, stderr = training.communicate(timeout=60)
    assert training.returncode == 130
    assert stderr.count("stopping after this step") == 1 and "interrupted" in stderr


SHADE = """
from flowbench import Score
from flowbench.rewards import register

@register("shade")
def shade():
    return lambda samples: [Score(sum(sample.image.resize((1, 1)).getpixel((0, 0))) / 765) for sample in samples]
"""


class Stopped(NamedTuple):
    """A run of two processes on a plugin's reward, as a SIGTERM has left it."""

    words: tuple[str | Path, ...]
    """What it was started with, after `train`."""
    run: Path
    plugin: Path
    code: int
    said: str
    log: list[dict[str, Any]]
    latest: str
    """The pointer to the newest checkpoint."""


@pytest.fixture(scope="module")
def stopped(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    folder = tmp_path_factory.mktemp("stopped")
    run, plugin = folder / "run", folder / "my plugin.py"
    plugin.write_text(SHADE)
    words = ("--plugin", plugin, "--reward", "shade", "--model", tiny_model, "--steps", "100000", *SMALL)
    words = (*words, "save_every=100000", "--out", run, "--processes", "2")
    training = start("train", *words)
    deadline = time.monotonic() + 300
    while not (run / "log.jsonl").is_file() and training.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    training.send_signal(signal.SIGTERM)
    _, stderr = training.communicate(timeout=300)
    log, latest = store.read_jsonl(run / "log.jsonl"), (run / "checkpoints" / "latest").read_text()
    return Stopped(words, run, plugin, training.returncode, stderr, log, latest)


@pytest.mark.alone
def test_two_processes_train_one_run(stopped: Stopped, flowbench: Any, tmp_path: Path) -> None:
    """The first step, drawn and scored by two processes, is that of one process; a second run is refused in a word."""
    words = (*stopped.words, "--processes", "1", "--steps", "1", "--out", tmp_path / "run")
    assert flowbench("train", *words).exit_code == 0
    first_steps = [stopped.log[0], *store.read_jsonl(tmp_path / "run" / "log.jsonl")]
    together, alone = ({k: v for k, v in step.items() if k.startswith("reward/")} for step in first_steps)
    assert 0 < together["reward/mean"] < 1 and together["reward/group_std"] > 0
    assert together == pytest.approx(alone, abs=1e-12)
    again = start("train", *stopped.words)
    _, stderr = again.communicate(timeout=300)
    assert again.returncode == 2
    assert stderr.count(f"error: {stopped.run} already holds a run") == 1
    assert "Traceback" not in stderr


@pytest.mark.alone
def test_a_signal_reaches_all_and_saves(stopped: Stopped) -> None:
    assert stopped.code == 143, stopped.said
    assert "stopped after step" in stopped.said
    assert stopped.latest == f"step-{len(stopped.log):06d}\n"


@pytest.mark.alone
def test_the_way_on_names_the_plugins_and_the_processes_stay(stopped: Stopped) -> None:
    """What a stopped run says can be pasted, and goes on in as many processes as before; one of them speaks."""
    way = stopped.said.split("go on with: ")[1].strip()
    assert way == f"flowbench train --plugin '{stopped.plugin}' --resume {stopped.run}"
    forgotten = start("train", "--resume", stopped.run)
    _, stderr = forgotten.communicate(timeout=300)
    assert forgotten.returncode == 2 and "give it again: --plugin FILE" in stderr
    steps = len(store.read_jsonl(stopped.run / "log.jsonl"))
    resumed = start(*shlex.split(way)[1:], "--steps", str(steps + 1))
    stdout, stderr = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, stderr
    assert stdout.count("run: ") == 1
    assert len(store.read_jsonl(stopped.run / "log.jsonl")) == steps + 1


def test_a_run_goes_on_in_as_many_processes_as_before(
    world: Any, flowbench: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    from flowbench.cli import train as command

    run = shutil.copytree(world.run, tmp_path / "run")
    card = store.read_sealed(run / "card.json")
    store.write_sealed(run / "card.json", {**card, "noted": {**card["noted"], "processes": 2}})
    launched: list[int] = []
    monkeypatch.setattr(command, "launch", lambda words, processes: launched.append(processes))
    assert flowbench("train", "--resume", run, "--steps", "9").exit_code == 0
    assert launched == [2]
    store.write_sealed(run / "card.json", {**card, "noted": {**card["noted"], "processes": 16, "device": "cuda:0"}})
    refused = flowbench("train", "--resume", run, "--steps", "9")
    assert refused.exit_code == 2 and "was started in 16 processes, and there are" in refused.stderr


def test_a_process_alone_is_not_two(tiny_model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from flowbench.cli.train_processes import assert_world
    from flowbench.errors import RunError

    with pytest.raises(RunError, match="2 processes were wanted, but 1 found each other"):
        assert_world("cpu", 2)


def test_nothing_of_the_working_folder_is_imported(tiny_model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "click.py").write_text("raise SystemExit('code of the working folder runs')\n")
    monkeypatch.chdir(tmp_path)
    for command in (
        ("train", "--model", tiny_model, "--steps", "1", *SMALL, "--out", "run"),
        ("eval", "--ckpt", tiny_model, "--suite", "shapes", "--metric", "jpeg", "--limit", "2", "--steps", "1"),
    ):
        done = start(*command, "--processes", "2")
        _, stderr = done.communicate(timeout=300)
        assert done.returncode == 0, stderr
