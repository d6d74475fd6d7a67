"""`flowbench eval --processes N`: one stage in N processes of this machine, each with its share of the pictures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from flowbench import bounds, children
from flowbench.children import LAUNCHER
from flowbench.cli.machine import check_processes, cores, gpus
from flowbench.errors import RunError

if TYPE_CHECKING:
    from flowbench.benchmarks.execution import Share

_BETWEEN_LOOKS, _A_MOMENT = 0.05, 5.0


class _Share(click.ParamType):
    """ "1/4": the first of four shares."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Share:
        from flowbench.benchmarks.execution import Share

        if isinstance(value, Share):
            return value
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", str(value))
        index, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= index <= count <= bounds.SHARES:
            self.fail(
                f"'{value}' is no share. Write I/N, the first of four being 1/4; N is at most {bounds.SHARES}.",
                param,
                ctx,
            )
        return Share(index - 1, count)


SHARE = _Share()


def run_shares(words: Sequence[str], stage: str, processes: int, device: str | None) -> None:
    """Run one stage of `flowbench` with these words in that many processes; returns when all have ended well.

    The cores are shared evenly unless OMP_NUM_THREADS is set; GPUs are dealt out in turn unless a device is named. When
    a process fails, the others are ended, and this one with the exit code of the first. What is wrong is said once: the
    first process speaks for itself, another one's words are shown when it alone has failed.
    """
    check_processes(processes)
    environment = {**os.environ, LAUNCHER: str(os.getpid())}
    environment.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    # a share is of one stage, whichever the user asked for
    kept = [word for word in words if not word.startswith("--stage=")]
    named = {place for place, word in enumerate(kept) if word == "--stage"}
    kept = [word for place, word in enumerate(kept) if place not in named and place - 1 not in named]
    command = children.python("flowbench.cli", *kept, "--stage", stage)
    devices = gpus() if device in (None, "auto", "cuda") else 0
    with ExitStack() as stack:
        text = partial(tempfile.TemporaryFile, "w+", encoding="utf-8", errors="backslashreplace")
        said = [stack.enter_context(text()) for _ in range(processes - 1)]
        started = []
        for index, words_of in enumerate([None, *said]):
            where = ["--device", f"cuda:{index % devices}"] if devices > 1 else []
            share = ["--shard", f"{index + 1}/{processes}", *where]
            started.append(subprocess.Popen([*command, *share], env=environment, stderr=words_of))
        try:
            while None in (codes := [process.poll() for process in started]) and not any(codes):
                time.sleep(_BETWEEN_LOOKS)
            if any(codes):
                _fail(started, said)
        finally:
            for process in started:
                process.terminate()
                process.wait()


def _fail(started: Sequence[subprocess.Popen[bytes]], said: Sequence[TextIO]) -> NoReturn:
    """End as the first process that failed; the first of all is given a moment to fail of the same cause."""
    with suppress(subprocess.TimeoutExpired):
        started[0].wait(_A_MOMENT)
    index, code = next((index, process.returncode) for index, process in enumerate(started) if process.poll())
    if index > 0:
        said[index - 1].seek(0)
        sys.stderr.write(said[index - 1].read())
    if code < 0:
        raise RunError(
            f"process {index + 1} of the evaluation was killed (signal {-code}). Run the same command again."
        )
    sys.exit(code)
