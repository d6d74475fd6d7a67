"""While work is going on, nothing reaches standard output: in this process, in C, in child processes, in threads."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from flowbench.foreign_code import diverted

PROGRAM = """
import ctypes, os, subprocess, sys
from flowbench.foreign_code import diverted

print("before")
with diverted():
    print("python")
    os.write(1, b"bytes\\n")
    ctypes.CDLL(None).printf(b"in C\\n")
    subprocess.run([sys.executable, "-c", "print('a child')"])
    with diverted():
        pass
    sys.stdout = None
print("result")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="C's library goes by another name")
def test_only_what_stands_outside_reaches_standard_output() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "before\nresult\n"
    assert sorted(done.stderr.split("\n")) == sorted(["", "python", "bytes", "in C", "a child"])


def test_what_was_there_comes_back_when_the_last_block_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """Blocks of two threads that overlap: the first to begin is the first to end."""
    begun, end = threading.Event(), threading.Event()

    def other() -> None:
        with diverted():
            begun.set()
            end.wait(10)
            print("other")

    before, thread = sys.stdout, threading.Thread(target=other)
    with diverted():
        thread.start()
        begun.wait(10)
    print("between")  # the other one is still at work
    end.set()
    thread.join()
    assert sys.stdout is before
    print("result")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("result\n", "between\nother\n")


def test_an_error_within_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), diverted():
        print(1 / 0)
    print("result")
    assert capsys.readouterr().out == "result\n"
