"""`flowbench eval --processes N`: one stage in N processes of this machine, each with its share of the pictures."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from flowbench.cli.launch import LAUNCHER, cores
from flowbench.errors import RunError

if TYPE_CHECKING:
    from flowbench.benchmarks.execution import Part

_BETWEEN_LOOKS = 0.05


class _Share(click.ParamType):
    """ "1/4": the first of four shares."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Part:
        from flowbench.benchmarks.execution import Part

        if isinstance(value, Part):
            return value
        index, _, count = str(value).partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            self.fail(f"'{value}' is no share. Write I/N, the first of four being 1/4.", param, ctx)
        return Part(int(index) - 1, int(count))


SHARE = _Share()


def run_shares(words: Sequence[str], stage: str, processes: int, device: str | None) -> None:
    """Run one stage of `flowbench` with these words in so many processes; returns when all have ended well.

    The cores are shared evenly unless OMP_NUM_THREADS is set; GPUs are dealt out in turn unless a device is named. When
    a process fails, the others are ended, and this one with the exit code of the first: it has said what is wrong.
    """
    environment = {**os.environ, LAUNCHER: str(os.getpid())}
    environment.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    command = [sys.executable, "-m", "flowbench", *_without_stages(words), "--stage", stage]
    shares = [["--shard", f"{index + 1}/{processes}", *_device(index, device)] for index in range(processes)]
    started = [subprocess.Popen([*command, *share], env=environment) for share in shares]
    try:
        _wait(started)
    finally:
        for process in started:
            process.terminate()
            process.wait()


def _wait(started: Sequence[subprocess.Popen[bytes]]) -> None:
    while True:
        codes = [process.poll() for process in started]
        failed = [code for code in codes if code]
        if failed and failed[0] < 0:
            raise RunError(f"a process of the evaluation was killed (signal {-failed[0]}). Run the same command again.")
        if failed:
            sys.exit(failed[0])
        if None not in codes:
            return
        time.sleep(_BETWEEN_LOOKS)


def _without_stages(words: Sequence[str]) -> list[str]:
    """A share is of one stage, whichever the user asked for."""
    kept = [word for word in words if not word.startswith("--stage=")]
    places = {place for place, word in enumerate(kept) if word == "--stage"}
    return [word for place, word in enumerate(kept) if place not in places and place - 1 not in places]


def _device(index: int, device: str | None) -> list[str]:
    """`--device cuda:I`, where several GPUs are there and none was chosen."""
    import torch

    count = torch.cuda.device_count()
    return ["--device", f"cuda:{index % count}"] if count > 1 and device in (None, "auto", "cuda") else []
