"""Several processes on this machine: the same command line once per process, under torchrun."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from flowbench.errors import RunError


def launched() -> bool:
    """Whether torchrun (ours or the user's own) has started this process."""
    return "WORLD_SIZE" in os.environ


def is_main() -> bool:
    """Whether this is the first of the processes, the one that writes and prints."""
    return os.environ.get("RANK", "0") == "0"


def launch(words: Sequence[str], processes: int) -> None:
    """Run `flowbench` with these words in `processes` processes; ends this one with the exit code of the first to fail.

    The processes share the cores evenly unless OMP_NUM_THREADS is set. A signal is passed on to all of them: each
    finishes its step, and the first saves a checkpoint (torchrun gives them 30 seconds for that).
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    logging.disable(logging.CRITICAL)  # torchrun's own account: the process that fails has said what is wrong
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    try:
        run(parse_args(["--standalone", f"--nproc_per_node={processes}", "-m", "flowbench", *words]))
    except ChildFailedError as error:
        _, first = error.get_first_failure()
        sys.exit(first.exitcode if first.exitcode > 0 else 128 - first.exitcode)
    except SignalException as error:
        sys.exit(128 + int(error.sigval))


def assert_world(device: str, processes: int) -> None:
    """Raises RunError unless the trainer will see exactly so many processes."""
    from flowbench.trainer.processes import Processes

    world = Processes(device).world
    if world != processes:
        raise RunError(
            f"--processes {processes}, but {world} of them found each other. Start with `flowbench train --processes "
            f"{processes}`, or with `torchrun --nproc_per_node {processes} -m flowbench train`."
        )
