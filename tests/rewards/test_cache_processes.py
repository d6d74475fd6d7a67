"""Several processes on one score cache, some of them killed in the middle: nothing wrong, nothing lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cache_worker import KEYS, key_of, text_of

from flowbench.rewards.cache_file import CacheFile

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
WORKER = Path(__file__).parent / "cache_worker.py"


def start(path: Path, seed: int, rounds: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), str(path), str(seed), str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_whole(path: Path) -> dict[bytes, str]:
    """Everything in the file, once it is known to be sound and right."""
    with sqlite3.connect(path) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    found = CacheFile(path).get([key_of(number) for number in range(KEYS)])
    assert all(text == text_of(key) for key, text in found.items())
    assert sum(each.scores for each in CacheFile(path).kept()) == len(found)
    return found


def test_four_processes_and_kills_in_the_middle(tmp_path):
    """Four begin at once on a file that is not there yet; four more are killed at moments of their work."""
    path = tmp_path / "cache" / "scores.sqlite"
    steady = [start(path, seed, rounds=150) for seed in range(4)]
    for seed in range(4, 8):
        victim = start(path, seed, rounds=10**6)
        assert victim.stdout is not None
        assert victim.stdout.readline() == "ready\n"  # it has written; it goes on while it is killed
        time.sleep(0.013 * seed)
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        assert victim.returncode == -signal.SIGKILL
    written: set[bytes] = set()
    for process in steady:
        out, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
        written |= {bytes.fromhex(line) for line in out.split("\n")[1:] if line}
    found = check_whole(path)
    assert len(written) > 1000
    assert written <= set(found)


def test_a_batch_is_written_whole_or_not_at_all(tmp_path):
    """Killed while it writes batches of 500, which take a while: the number of rows is a multiple of 500."""
    path = tmp_path / "scores.sqlite"
    program = (
        "import sys; from pathlib import Path; from flowbench.rewards.cache_file import CacheFile\n"
        "file = CacheFile(Path(sys.argv[1]))\n"
        "for batch in range(10**6):\n"
        "    file.put('a', {b'%d %d' % (batch, number): 'x' * 2000 for number in range(500)})\n"
        "    print(batch, flush=True)\n"
    )
    for pause in (0.0, 0.004, 0.011):
        path.unlink(missing_ok=True)
        writer = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(3):
            last = int(writer.stdout.readline())
        time.sleep(pause)
        writer.kill()
        writer.communicate()
        (kept,) = CacheFile(path).kept()
        assert kept.scores % 500 == 0
        assert kept.scores >= 500 * (last + 1)
        for side in ("-wal", "-shm"):
            path.with_name(path.name + side).unlink(missing_ok=True)


def test_clear_beside_processes_at_work(tmp_path):
    path = tmp_path / "scores.sqlite"
    worker = start(path, 1, rounds=10**6)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    dropped = CacheFile(path).clear()
    assert dropped >= 16 - 1  # 16 draws may meet twice
    time.sleep(0.1)
    worker.terminate()
    _, errors = worker.communicate()
    assert errors in ("", "a lost entry\n")  # what it says is true: it was cleared
    check_whole(path)


MAKE_TOGETHER = """
import multiprocessing, sys
from pathlib import Path
from flowbench.rewards.cache_file import CacheFile

def write(path, start, number, said):
    start.wait()
    try:
        CacheFile(path).put("a", {b"%d" % number: "[1]"})
        said.put("")
    except OSError as error:
        said.put(str(error))

context = multiprocessing.get_context("fork")
for place in range(40):
    start, said, path = context.Barrier(6), context.Queue(), Path(sys.argv[1]) / str(place) / "scores.sqlite"
    processes = [context.Process(target=write, args=(path, start, number, said)) for number in range(6)]
    for process in processes:
        process.start()
    errors = [said.get() for _ in processes]
    if any(errors) or len(CacheFile(path).get([b"%d" % number for number in range(6)])) != 6:
        sys.exit(f"{errors}")
"""


@needs_fork
def test_many_make_the_same_file_at_the_same_moment(tmp_path):
    """Forty times six. SQLite alone says "locked" to about one in fifty that turn on WAL together."""
    done = subprocess.run([sys.executable, "-c", MAKE_TOGETHER, str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@needs_fork
def test_a_forked_process_opens_the_file_itself(tmp_path):
    file = CacheFile(tmp_path / "scores.sqlite")
    file.put("a", {b"parent": "[1]"})
    child = os.fork()
    if child == 0:
        file.put("a", {b"child": "[2]"})
        os._exit(0 if len(file._connections) == 2 else 1)  # its own, and the parent's, which it must not use or close
    assert os.waitpid(child, 0)[1] == 0
    file.put("a", {b"after": "[3]"})
    assert set(file.get([b"parent", b"child", b"after"])) == {b"parent", b"child", b"after"}
