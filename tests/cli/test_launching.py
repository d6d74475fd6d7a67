"""What `--processes N` does with its processes, on small programs in their place; the real ones: test_processes.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from flowbench.cli import machine, train_processes
from flowbench.cli.train_processes import launch

STARTED = "import os, pathlib, signal, sys, time; rank = int(os.environ['RANK'])\n"
MARK = "pathlib.Path(f'here-{rank}').touch()\n"


@pytest.fixture
def program(monkeypatch: Any, tmp_path: Path) -> Any:
    """program(text): what each process runs in place of flowbench, in the folder of this test."""
    monkeypatch.chdir(tmp_path)
    for module in (machine, train_processes):
        monkeypatch.setattr(module, "cores", lambda: 4)

    def use(text: str) -> None:
        monkeypatch.setattr(train_processes.children, "python", lambda *words: [sys.executable, "-c", STARTED + text])

    return use


def ends_with(code: int, processes: int = 2) -> None:
    with pytest.raises(SystemExit) as ended:
        launch(["train"], processes)
    assert ended.value.code == code


def signal_when(path: Path, *numbers: int, pause: float = 0.0) -> None:
    """Send this process signals as soon as there is such a file."""

    def send() -> None:
        while not path.exists():
            time.sleep(0.01)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(pause)

    threading.Thread(target=send, daemon=True).start()


def test_each_knows_its_place_and_the_meeting_is_over(program: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS", "FLOWBENCH_LAUNCHER"]
    program(
        f"place = [os.environ[name] for name in {names}]\n"
        "pathlib.Path(f'place-{rank}').write_text(' '.join([*place, os.environ['FLOWBENCH_MEETING']]))\n"
    )
    launch(["train"], 2)
    places = [(tmp_path / f"place-{rank}").read_text().split() for rank in range(2)]
    me = str(os.getpid())
    assert [place[:6] for place in places] == [["0", "0", "2", "2", "2", me], ["1", "1", "2", "2", "2", me]]
    assert places[0][6] == places[1][6] and not Path(places[0][6]).parent.exists()
    assert "RANK" not in os.environ


def test_the_first_failure_is_the_exit_code_and_the_others_are_ended(program: Any, tmp_path: Path) -> None:
    program(
        "if rank == 1:\n"
        "    while not pathlib.Path('here-0').exists(): time.sleep(.01)\n"
        "    sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path('asked').touch(), sys.exit(3)))\n"
        f"{MARK}time.sleep(60)\n"
    )
    ends_with(7)
    assert (tmp_path / "asked").exists()


def test_one_that_does_not_end_is_killed(program: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(train_processes, "LAST_WORDS", 0.2)
    program(
        "if rank == 1:\n"
        "    while not pathlib.Path('here-0').exists(): time.sleep(.01)\n"
        "    sys.exit(7)\n"
        f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{MARK}time.sleep(60)\n"
    )
    began = time.monotonic()
    ends_with(7)
    assert time.monotonic() - began < 20


def test_one_that_the_system_kills_is_spoken_for(program: Any, capfd: Any) -> None:
    program("if rank == 1: os.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(60)\n")
    ends_with(137)
    assert "error: a process of the training was killed (signal 9)" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_all_and_they_end_in_their_own_time(number: int, program: Any, tmp_path: Path) -> None:
    """As often as it comes."""
    program(
        "came = []\n"
        f"signal.signal({number:d}, lambda number, frame: came.append(number))\n"
        f"if rank == 1: {MARK}"
        "while len(came) < 2: time.sleep(.01)\n"
        "time.sleep(.3)\npathlib.Path(f'saved-{rank}').touch()\n"
    )
    before = signal.getsignal(number)
    signal_when(tmp_path / "here-1", number, number, pause=0.5)
    ends_with(128 + number)
    assert (tmp_path / "saved-1").exists()
    assert signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored(program: Any, tmp_path: Path) -> None:
    program(f"if rank == 1: {MARK}time.sleep(.5)\n")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signal_when(tmp_path / "here-1", signal.SIGHUP)
        launch(["train"], 2)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_gpus_are_asked_for_only_where_the_system_shows_one(monkeypatch: Any, tmp_path: Path) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(machine, "DEVICES", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("null", "nvme0", "nvram"):
        (tmp_path / name).touch()
    assert machine.gpus() == 0 and machine.is_cpu(None) and machine.is_cpu("auto")
    for name in ("nvidia0", "kfd", "dxg", "nvhost-ctrl"):
        (tmp_path / name).touch()
        assert machine.gpus() == 2 and not machine.is_cpu(None) and machine.is_cpu("cpu")
        (tmp_path / name).unlink()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert machine.gpus() == 2


LAUNCHER = """
import subprocess, sys
from flowbench.cli import main

def start(command, *more, **settings):
    print(command[6:8], sorted({"torch", "numpy", "scipy", "diffusers", "transformers"} & set(sys.modules)), flush=True)
    sys.exit(3)

subprocess.Popen = start
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "words",
    [
        ("--processes", "2"),
        ("rollout.groups=4", "rollout.micro_batch=32", "rollout.bundle=1", "model.device=cpu"),
    ],
)
def test_who_only_launches_imports_no_torch(words: tuple[str, ...], tmp_path: Path) -> None:
    """Up to the moment at which it starts the first process; also when it has to find out how many there will be."""
    command = [sys.executable, "-c", LAUNCHER, "train", "--reward", "jpeg", "--out", str(tmp_path / "run"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout and machine.cores() == 1:
        pytest.skip("one core: one process")
    assert (done.returncode, done.stdout) == (3, "['flowbench.cli', 'train'] []\n"), done.stderr
