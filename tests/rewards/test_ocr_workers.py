"""Worker processes: killed, closed, orphaned, interrupted. Real processes throughout."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pytest

from flowbench.errors import RewardError
from flowbench.images import to_array
from flowbench.rewards.ocr.drawn_text import draw
from flowbench.rewards.ocr.workers import Workers

pytest.importorskip("rapidocr", reason='needs the extra: pip install -e ".[ocr]"')
pytest.importorskip("onnxruntime", reason='needs the extra: pip install -e ".[ocr]"')
if sys.platform == "win32":
    pytest.skip("signals of POSIX systems", allow_module_level=True)
pytestmark = pytest.mark.alone


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(2, "rapidocr", {})
    yield workers
    workers.close()


@pytest.fixture(scope="module")
def picture() -> numpy.ndarray:
    return to_array(draw("Train", seed=11, side=256))


def texts(workers: Workers, pictures: list[numpy.ndarray]) -> list[str]:
    return [" ".join(line.text for line in lines) for lines in workers(pictures)]


@pytest.mark.slow
def test_a_killed_worker_is_told_and_replaced(workers: Workers, picture: numpy.ndarray) -> None:
    first, second = workers.process_ids
    threading.Timer(0.3, os.kill, (first, signal.SIGKILL)).start()
    with pytest.raises(
        RewardError, match=rf"process {first} ended .*killed by signal 9.*set the option `workers` lower"
    ):
        workers([picture] * 2000)
    assert texts(workers, [picture] * 4) == ["Train"] * 4
    assert second in workers.process_ids and first not in workers.process_ids
    os.kill(second, signal.SIGKILL)  # between two batches: nobody need know
    time.sleep(0.2)
    assert texts(workers, [picture]) == ["Train"]


@pytest.mark.slow
def test_a_failure_ends_the_batch(workers: Workers, picture: numpy.ndarray) -> None:
    """The other worker does not go through all that is left; both then go on with the next batch."""
    started = time.monotonic()
    workers([picture] * 60)
    whole = time.monotonic() - started
    started = time.monotonic()
    with pytest.raises(RewardError, match="ZeroDivisionError"):
        workers([numpy.zeros((0, 0, 3), numpy.uint8)] + [picture] * 200)
    assert time.monotonic() - started < whole / 2
    before = workers.process_ids
    assert texts(workers, [picture] * 4) == ["Train"] * 4
    assert workers.process_ids == before


def test_ctrl_c_is_not_for_workers(workers: Workers, picture: numpy.ndarray) -> None:
    before = workers.process_ids
    for process in before:
        assert os.getpgid(process) != os.getpgid(0)  # the terminal does not send it there
        os.kill(process, signal.SIGINT)
    time.sleep(0.2)
    assert texts(workers, [picture] * 2) == ["Train"] * 2
    assert workers.process_ids == before


def test_closed_is_closed(picture: numpy.ndarray) -> None:
    """Also in the middle of a batch, from another thread: the batch fails, nothing hangs, no process is left."""
    workers = Workers(2, "rapidocr", {})
    processes = workers.process_ids
    threading.Timer(0.3, workers.close).start()
    with pytest.raises(RewardError, match="OCR worker process"):
        workers([picture] * 2000)
    deadline = time.monotonic() + 10
    while any(_exists(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_exists(process) for process in processes)
    with pytest.raises(RewardError, match="was closed"):
        workers([picture])
    workers.close()


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_reader_that_cannot_be_built_says_why() -> None:
    with pytest.raises(RewardError, match="no backend 'tesseract'"):
        Workers(2, "tesseract", {})


def test_the_working_folder_is_not_imported_from(
    picture: numpy.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    workers = Workers(1, "rapidocr", {})
    try:
        assert texts(workers, [picture]) == ["Train"]
    finally:
        workers.close()


PARENT = """
import signal
import numpy
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits "ignored"
from flowbench.rewards.ocr.workers import Workers
workers = Workers(2, "rapidocr", {})
print("ready", flush=True)
while True:
    workers([numpy.full((256, 256, 3), 200, numpy.uint8)] * 100000)
"""


def _start_parent() -> subprocess.Popen[str]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert parent.stdout is not None and parent.stdout.readline() == "ready\n"
    time.sleep(0.3)
    return parent


def _last_words(parent: subprocess.Popen[str]) -> str:
    """Its standard error, once no process holds that any more; a parent that does not end is killed."""
    try:
        return parent.communicate(timeout=60)[1]
    finally:
        parent.kill()


@pytest.mark.slow
def test_workers_end_with_a_killed_parent() -> None:
    parent = _start_parent()
    parent.kill()
    assert _last_words(parent) == ""


@pytest.mark.slow
def test_ctrl_c_ends_a_batch_with_one_traceback() -> None:
    parent = _start_parent()
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does it
    stderr = _last_words(parent)
    assert stderr.count("Traceback") == 1 and stderr.rstrip().endswith("KeyboardInterrupt")


def test_what_breaks_in_while_threads_are_started_ends_the_batch(
    picture: numpy.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between the first and the second thread: the first must not go on to the end of a long batch."""

    class Broken(ThreadPoolExecutor):
        def submit(self, *args: Any, **options: Any) -> Any:
            if self._threads:
                raise KeyboardInterrupt
            return super().submit(*args, **options)

    workers = Workers(2, "rapidocr", {})
    try:
        monkeypatch.setattr("flowbench.rewards.ocr.workers.ThreadPoolExecutor", Broken)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            workers([picture] * 100_000)
        assert time.monotonic() - began < 60
    finally:
        workers.close()
