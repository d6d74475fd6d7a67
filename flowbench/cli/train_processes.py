"""Several processes on this machine: the same command line once per process, as torchrun would start them."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from flowbench import children
from flowbench.children import LAUNCHER, MEETING
from flowbench.cli.machine import MOST_PROCESSES, check_processes, cores, gpus, is_cpu
from flowbench.errors import RunError
from flowbench.models.built_in import BUILT_IN
from flowbench.terminal import say

if TYPE_CHECKING:
    from flowbench.config import TrainConfig

LONGEST_STEP = 3600.0
"""Seconds for which the processes may go on after a signal: a step of a large model with slow rewards takes minutes."""
LAST_WORDS = 30.0
"""Seconds for the others when one has failed: without it there is no step that they could finish."""
_BETWEEN_LOOKS, _KILLED = 0.05, 9
_PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")


def launched() -> bool:
    """Whether this process is one of several that `launch`, or a torchrun of the user's, has started."""
    return "WORLD_SIZE" in os.environ


def is_main() -> bool:
    """Whether this is the first of the processes, the one that writes and prints."""
    return os.environ.get("RANK", "0") == "0"


def fitting_processes(config: TrainConfig) -> int:
    """How many processes to train on when nobody said: one, but for a built-in model on a CPU one per core.

    Its operations are so small that threads share them badly: one process of two threads took 1.2 times as long as two
    processes of one thread (README). At most `MOST_PROCESSES`, and a number that divides the bundles of an update.
    """
    if config.model.name not in BUILT_IN or sys.platform != "linux" or not is_cpu(config.model.device):
        return 1
    share = config.rollout.groups // config.optimizer.updates // config.rollout.bundle
    return max(count for count in range(1, min(cores(), MOST_PROCESSES) + 1) if share % count == 0)


def resumed_processes(folder: str) -> int | None:
    """As many as the run was started in; None when it does not say. Raises RunError when the GPUs here are too few."""
    from flowbench.trainer.run_card import read_card

    card = read_card(folder)
    if card is None:
        return None
    processes = int(card["noted"]["processes"])
    if str(card["noted"]["device"]).startswith("cuda") and processes > max(1, gpus()):
        raise RunError(
            f"{folder} was started in {processes} processes, and there are {gpus()} GPUs here. Say --processes N (the "
            "same numbers within rounding), or resume by the torchrun command that started it."
        )
    return processes


def launch(words: Sequence[str], processes: int) -> None:
    """Run `flowbench` with these words in `processes` processes; ends this one with the exit code of the first to fail.

    Each finds its place in the environment, under torchrun's names, and all find each other over a file: this one,
    which only waits, needs no torch. They share the cores evenly unless OMP_NUM_THREADS is set. A signal is passed on
    to all of them: each finishes its step, and the first saves a checkpoint.
    """
    check_processes(processes)
    with TemporaryDirectory(prefix="flowbench-") as folder, _signals() as signals:
        environment = {**os.environ, LAUNCHER: str(os.getpid()), MEETING: str(Path(folder) / "meeting")}
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
        started: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(processes):
                place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
                own = environment | {name: str(number) for name, number in place.items()}
                # a session of its own: Ctrl-C reaches it by way of this process alone
                command = children.python("flowbench.cli", *words)
                started.append(subprocess.Popen(command, env=own, start_new_session=True))
            failed = _wait(started, signals)
        finally:
            for each in started:
                each.kill()
                each.wait()
    if signals:
        sys.exit(128 + signals[0])
    if failed == -_KILLED:  # it could not say so itself
        say(f"error: a process of the training was killed (signal {_KILLED}): mostly for want of memory.", err=True)
    if failed:
        sys.exit(failed if failed > 0 else 128 - failed)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The numbers of the signals that come inside the block, in order; one that is ignored (nohup) stays ignored."""
    came: list[int] = []
    before: dict[int, Any] = {}
    for number in (getattr(signal, name) for name in _PASSED_ON if hasattr(signal, name)):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(started: Sequence[subprocess.Popen[bytes]], signals: Sequence[int]) -> int:
    """Until all have ended: pass signals on, end the others when one has failed, kill what takes too long. Returns the
    exit code of the first to fail, as subprocess gives it (that of a killed one before others'), or 0."""
    failed, passed_on, until = 0, 0, math.inf
    while True:
        running = [each for each in started if each.poll() is None]
        failed = failed or min((each.returncode for each in started if each.returncode), default=0)
        if not running:
            return failed
        for number in signals[passed_on:]:
            passed_on, until = passed_on + 1, min(until, time.monotonic() + LONGEST_STEP)
            for each in running:
                each.send_signal(number)
        if failed and until == math.inf:
            until = time.monotonic() + LAST_WORDS
            for each in running:
                each.terminate()
        if time.monotonic() > until:
            for each in running:
                each.kill()
        time.sleep(_BETWEEN_LOOKS)


def assert_world(device: str, processes: int) -> None:
    """Raises RunError unless the trainer will see exactly that many processes."""
    from flowbench.trainer.processes import Processes

    world = Processes(device).world
    if world != processes:
        raise RunError(
            f"{processes} processes were wanted, but {world} found each other. Start with `flowbench train --processes "
            f"{processes}`, or with `torchrun --nproc_per_node {processes} -m flowbench train`."
        )
