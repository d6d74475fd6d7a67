"""What this machine has, asked without torch where that will do, and how many processes it can be thought to run."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from flowbench import bounds
from flowbench.children import LAUNCHER
from flowbench.errors import ConfigError

MOST_PROCESSES = 8
"""When nobody says how many."""
DEVICES = Path("/dev")
_OF_GPUS = ("nvidia*", "nvhost*", "nvgpu", "nvmap", "kfd", "dxg")
"""Names there, under Linux, of which CUDA and ROCm need one: NVIDIA's driver, its Jetsons' (3), AMD's, WSL's."""


def gpus() -> int:
    """How many devices torch.cuda sees here. It is imported to say so only where the system shows one."""
    if sys.platform == "linux" and not any(found for name in _OF_GPUS for found in DEVICES.glob(name)):
        return 0
    import torch

    return torch.cuda.device_count()


def is_cpu(device: str | None) -> bool:
    """Whether a model that is loaded on this device (None: nobody says) is computed on the CPU."""
    return device == "cpu" or (device in (None, "auto") and gpus() == 0)


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
