"""Several worker processes, each with a reader of its own, that share the pictures of a batch.

Each is a fresh interpreter (worker.py) on two pipes: nothing is forked, nothing is pickled, and the script of the user
is not run a second time.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from queue import Empty, SimpleQueue
from threading import Event, Lock, Timer
from typing import IO, TYPE_CHECKING

from flowbench import children
from flowbench.errors import RewardError
from flowbench.rewards.ocr.lines import Line
from flowbench.rewards.ocr.worker import SIZE, from_message, receive

if TYPE_CHECKING:
    import numpy

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}  # the workers share the cores
LONGEST_READ = 120.0
"""Seconds for one picture: a large one takes a few."""
PATIENCE = 10.0
"""Seconds that an ended or terminated process has to vanish."""


class Worker:
    """One process. Raises RewardError when it cannot load its reader, stumbles over a picture, or has died."""

    def __init__(self, backend: str, settings: dict[str, str]):
        self.process = subprocess.Popen(
            children.python("flowbench.rewards.ocr.worker", backend, json.dumps(settings)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT},
            start_new_session=True,  # Ctrl-C in the terminal does not reach it, not even while it starts
        )

    def wait_until_ready(self) -> str:
        """The characters that its reader knows."""
        return str(self._reply("while it started")["characters"])

    def read(self, picture: numpy.ndarray) -> list[Line]:
        """The lines on a picture, (H, W, 3) uint8, RGB."""
        requests = _pipe(self.process.stdin)
        deadline = Timer(LONGEST_READ, self.process.kill)  # one that hangs dies, and is replaced at the next call
        deadline.daemon = True
        deadline.start()
        try:
            requests.write(SIZE.pack(*picture.shape[:2]) + picture.tobytes())
            requests.flush()
            reply = self._reply("over a picture")
        except (OSError, ValueError):  # ValueError: closed meanwhile
            raise self._death("before it got a picture") from None
        finally:
            deadline.cancel()
        return from_message(reply)

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        """End the process now, whatever it is doing."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # half a picture that nobody will take
                _pipe(pipe).close()

    def _reply(self, when: str) -> Mapping[str, object]:
        try:
            message: Mapping[str, object] = receive(_pipe(self.process.stdout))
        except (EOFError, OSError, ValueError):
            raise self._death(when) from None
        if "error" in message:
            raise RewardError(str(message["error"]))
        return message

    def _death(self, when: str) -> RewardError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        code = self.process.returncode
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return RewardError(
            f"the OCR worker process {self.process.pid} ended {when} ({how}). If the machine is short of memory, "
            "set the option `workers` lower."
        )


class Workers:
    """`count` processes behind one call; what is read does not depend on how many there are.

    One that has died is replaced at the next call. `close` ends them all, for good. `characters`: all that their reader
    can write.
    """

    characters: str

    def __init__(self, count: int, backend: str, settings: Mapping[str, str]):
        self._count, self._backend, self._settings = count, backend, dict(settings)
        self._turn = Lock()  # one batch at a time: each worker has one pair of pipes
        self._workers: list[Worker] = []
        self._closed = False
        self._start_missing()

    def __call__(self, pictures: Sequence[numpy.ndarray]) -> list[list[Line]]:
        """The lines of each picture, in the order of the pictures. The first failure ends the batch: RewardError."""
        with self._turn:
            self._start_missing()
            return self._share_out(pictures)

    @property
    def process_ids(self) -> list[int]:
        return [worker.process.pid for worker in self._workers]

    def close(self) -> None:
        """End the processes; a batch under way in another thread fails."""
        self._closed = True
        for worker in self._workers:
            worker.close()

    def _start_missing(self) -> None:
        dead = [worker for worker in self._workers if not worker.is_alive()]
        for worker in dead:
            worker.close()
        alive = [worker for worker in self._workers if worker not in dead]
        missing = 0 if self._closed else self._count - len(alive)
        fresh = [Worker(self._backend, self._settings) for _ in range(missing)]
        self._workers = alive + fresh
        try:
            for worker in fresh:
                self.characters = worker.wait_until_ready()
            if self._closed:
                raise RewardError("the OCR reward was closed, and its worker processes with it. Build it again.")
        except BaseException:
            for worker in fresh:
                worker.close()
            raise

    def _share_out(self, pictures: Sequence[numpy.ndarray]) -> list[list[Line]]:
        """Each worker takes the next picture when it is done with one."""
        found: list[list[Line]] = [[] for _ in pictures]
        waiting: SimpleQueue[int] = SimpleQueue()
        for place in range(len(pictures)):
            waiting.put(place)
        stop = Event()

        def serve(worker: Worker) -> None:
            with contextlib.suppress(Empty):
                while not stop.is_set():
                    place = waiting.get_nowait()
                    found[place] = worker.read(pictures[place])

        with ThreadPoolExecutor(self._count, thread_name_prefix="ocr") as threads:
            try:  # from the first thread on: leaving the block waits for all of them
                futures = [threads.submit(serve, worker) for worker in self._workers]
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:  # after Ctrl-C too: no worker takes another picture, and none is left in the middle of one
                stop.set()
        for future in futures:
            future.result()
        return found


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "Popen was asked for pipes"
    return pipe
