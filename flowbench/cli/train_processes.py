"""Several processes on this machine: the same command line once per process, under torchrun."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowbench import bounds, children
from flowbench.cli.recipes import BUILT_IN
from flowbench.errors import ConfigError, RunError

if TYPE_CHECKING:
    from flowbench.config import TrainConfig

MOST_PROCESSES = 8
LONGEST_STEP = 3600
"""Seconds for which the processes may go on after a signal: a step of a large model with slow rewards takes minutes."""
LAUNCHER = "FLOWBENCH_LAUNCHER"
"""Environment variable: the number of the process that has launched this one."""


def launched() -> bool:
    """Whether torchrun (ours or the user's own) has started this process."""
    return "WORLD_SIZE" in os.environ


def is_main() -> bool:
    """Whether this is the first of the processes, the one that writes and prints."""
    return os.environ.get("RANK", "0") == "0"


def fitting_processes(config: TrainConfig) -> int:
    """How many processes to train on when nobody said: one, but for the built-in model on a CPU one per core.

    Its operations are so small that threads share them badly: one process of two threads took 1.2 times as long as two
    processes of one thread (README). At most `MOST_PROCESSES`, and a number that divides the bundles of an update.
    """
    import torch

    on_cpu = config.model.device == "cpu" or (config.model.device == "auto" and not torch.cuda.is_available())
    if config.model.name != BUILT_IN or not on_cpu or sys.platform != "linux":
        return 1
    share = config.rollout.groups // config.optimizer.updates // config.rollout.bundle
    return max(count for count in range(1, min(cores(), MOST_PROCESSES) + 1) if share % count == 0)


def resumed_processes(folder: str) -> int | None:
    """As many as the run was started in; None when it does not say. Raises RunError when the GPUs here are too few."""
    import torch

    from flowbench.trainer.run_card import read_card

    card = read_card(folder)
    if card is None:
        return None
    processes, devices = card["noted"]["processes"], torch.cuda.device_count()
    if str(card["noted"]["device"]).startswith("cuda") and processes > max(1, devices):
        raise RunError(
            f"{folder} was started in {processes} processes, and there are {devices} GPUs here. Say --processes N (the "
            "same numbers within rounding), or resume by the torchrun command that started it."
        )
    return processes


def cores() -> int:
    """How many cores this process may use: a container may have fewer than the machine."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(allowed, _quota(Path("/sys/fs/cgroup/cpu.max")) or allowed)


def _quota(path: Path) -> int | None:
    """The cores that a control group (version 2) grants, at least 1: "200000 100000" is two, "max 100000" no limit."""
    words = path.read_text(encoding="ascii").split() if path.is_file() else ["max"]
    return None if words[0] == "max" else max(1, int(words[0]) // int(words[1]))


def check_processes(processes: int) -> None:
    """Raises ConfigError for more than this machine can be thought to run."""
    most = bounds.PROCESSES_PER_CORE * cores()
    if processes > most:
        raise ConfigError(
            f"{processes} processes are too many for the {cores()} cores that this one may use: at most {most} "
            f"({bounds.PROCESSES_PER_CORE} a core)."
        )


def launch(words: Sequence[str], processes: int) -> None:
    """Run `flowbench` with these words in `processes` processes; ends this one with the exit code of the first to fail.

    The processes share the cores evenly unless OMP_NUM_THREADS is set. A signal is passed on to all of them: each
    finishes its step, and the first saves a checkpoint; torchrun, which would kill them after 30 seconds, waits longer.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    check_processes(processes)
    logging.disable(logging.CRITICAL)  # torchrun's own account: the process that fails has said what is wrong
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(LONGEST_STEP))
    os.environ[LAUNCHER] = str(os.getpid())
    try:
        command = children.python("flowbench.cli", *words)
        run(parse_args(["--standalone", f"--nproc_per_node={processes}", "--no_python", *command]))
    except ChildFailedError as error:
        _, first = error.get_first_failure()
        sys.exit(first.exitcode if first.exitcode > 0 else 128 - first.exitcode)
    except SignalException as error:
        sys.exit(128 + int(error.sigval))


def end_with_launcher() -> None:
    """Let the system kill this process when the one that launched it dies, however that ends: otherwise a kill -9 of
    `flowbench train` would leave its processes training, and holding the run folder. Linux only; elsewhere nothing.
    """
    if LAUNCHER not in os.environ or sys.platform != "linux":
        return
    import ctypes

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG, linux/prctl.h
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != int(os.environ[LAUNCHER]):  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def assert_world(device: str, processes: int) -> None:
    """Raises RunError unless the trainer will see exactly that many processes."""
    from flowbench.trainer.processes import Processes

    world = Processes(device).world
    if world != processes:
        raise RunError(
            f"{processes} processes were wanted, but {world} found each other. Start with `flowbench train --processes "
            f"{processes}`, or with `torchrun --nproc_per_node {processes} -m flowbench train`."
        )
