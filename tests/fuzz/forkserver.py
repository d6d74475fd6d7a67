"""Runs command lines of `flowbench`, each in a process of its own, which takes milliseconds: everything is imported
once, in a process with one thread, and each command line gets a fork of it.

What a fork does is what `python -m flowbench` does: it may print to its own file descriptors, crash, hang, be sent a
signal, or end the interpreter. Only what happens before the first import is not seen.

    python tests/fuzz/forkserver.py        then a request as a line of JSON on stdin, a reply as a line on stdout
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
MOST_MEMORY = 4 << 30
"""Bytes that a command line may ask for beyond what was imported."""
MOST_PROCESSES = 4
"""That one command line may start: more is a fault, and ends it."""
AGAIN = 5.0
PATIENCE = 10
TOO_MANY = 97
"""The exit code of one that wanted more."""


@dataclass(frozen=True)
class Request:
    """One command line; bytes of words that are not UTF-8 are written as surrogates, as Python does in sys.argv."""

    words: list[str]
    folder: str
    """To run in; what it says lands beside it."""
    seconds: int = 60
    """Of the processor's time, after which it is killed; a busy machine may let it wait `PATIENCE` times as long."""
    interrupt: float | None = None
    """Seconds after which it is sent what Ctrl-C sends; every AGAIN seconds once more."""
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What became of it."""

    code: int | None
    """The exit code, minus the number of the signal that ended it, or None when it was killed for taking too long."""
    seconds: float
    stdout: bytes
    stderr: bytes


class ForkServer:
    """The server, seen from the process that asks it."""

    def __init__(self, environment: dict[str, str]):
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, request: Request) -> Reply:
        """Run one command line to its end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(asdict(request)), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the fork server has ended (exit code {self._process.wait()})")
        said = [_said(request, name).read_bytes() for name in ("stdout", "stderr")]
        return Reply(*json.loads(line), *said)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _said(request: Request, name: str) -> Path:
    folder = Path(request.folder)
    return folder.with_name(f"{folder.name}.{name}")


def main() -> int:
    """Serve until stdin ends. In a fork: the exit code."""
    import gc
    import importlib
    import pkgutil

    sys.path[0] = str(ROOT)
    replies = os.fdopen(os.dup(1), "w")  # whatever else is printed here is no reply
    os.dup2(2, 1)
    import flowbench

    for module in pkgutil.walk_packages(flowbench.__path__, "flowbench."):
        with contextlib.suppress(ImportError):
            if "pretrain" not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    import_what_is_used()
    gc.collect()
    gc.freeze()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # until a fork is where it can be interrupted
    for line in sys.stdin:
        request = Request(**json.loads(line))
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            _begin(request)
            return _run(request)
        code = _wait(child, request)
        print(json.dumps([code, time.monotonic() - began]), file=replies, flush=True)
    return 0


def import_what_is_used() -> None:
    """What the commands import when they get there, so that no fork has to."""
    import cProfile  # noqa: F401  torch's compiler, which the first optimizer imports
    import importlib

    for name in (
        "torch", "torch._dynamo", "torch.distributed.run", "numpy", "pandas", "scipy.ndimage", "scipy.stats",
        "PIL.Image", "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "matplotlib.pyplot", "jinja2.ext", "rich.console",
        "rich.markup", "rich.progress", "rich.table", "sqlite3", "tensorboard.summary", "peft",
        "diffusers.pipelines.stable_diffusion_3", "diffusers.loaders", "transformers.models.clip",
        "torch.utils.tensorboard",
    ):  # fmt: skip
        importlib.import_module(name)
    import diffusers
    import transformers

    for package, names in (
        (diffusers, ("StableDiffusion3Pipeline", "SD3Transformer2DModel", "AutoencoderKL")),
        (transformers, ("CLIPTextModelWithProjection", "CLIPTokenizer", "T5EncoderModel", "T5TokenizerFast")),
    ):
        for name in names:
            getattr(package, name)


def _wait(child: int, request: Request) -> int | None:
    """The exit code of the fork, which is sent a signal or killed when its time comes."""
    began = time.monotonic()
    pause, interrupt = 0.002, request.interrupt
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            _kill_all_of(child)  # whatever it has started and left behind
            code = os.waitstatus_to_exitcode(status)
            return None if code == -signal.SIGXCPU else code
        passed = time.monotonic() - began
        if interrupt is not None and passed > interrupt:
            try:
                os.killpg(child, signal.SIGINT)
            except ProcessLookupError:  # it does not lead a group yet
                os.kill(child, signal.SIGINT)
            interrupt = passed + AGAIN
        if passed > PATIENCE * request.seconds:
            _kill_all_of(child)
            os.waitpid(child, 0)
            return None
        time.sleep(pause)
        pause = min(pause * 1.2, 0.05)


def _kill_all_of(child: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)


def _begin(request: Request) -> None:
    """In the fork: a session, a folder, an environment, streams and limits of its own."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores Ctrl-C
    os.chdir(request.folder)
    os.environ.update(request.environment)
    for number, path, flags in (
        (0, Path(os.devnull), os.O_RDONLY),
        (1, _said(request, "stdout"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, _said(request, "stderr"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="strict", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)
    sys.argv = ["flowbench", *request.words]
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (request.seconds, request.seconds + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    started = 0

    def count(event: str, _: Any) -> None:
        nonlocal started
        if event == "subprocess.Popen":
            started += 1
            if started > MOST_PROCESSES:
                os.write(2, b"started too many processes\n")
                os._exit(TOO_MANY)

    sys.addaudithook(count)


def _run(request: Request) -> NoReturn:
    """In the fork: what `python -m flowbench` does from here on, the end of the interpreter included."""
    import atexit
    import threading

    code = 1
    try:
        from flowbench.cli import main as command

        if signal.SIGINT in signal.sigpending():  # came before a new interpreter would have got here
            os._exit(130)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        command(prog_name="flowbench")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from here on it comes too late
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # threads that are no daemons are waited for
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 120
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
