"""While work is going on, nothing reaches standard output: in this process, in C, in child processes, in threads."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading

import pytest

from flowbench.foreign_code import diverted, interrupted, interrupts_noted, raise_swallowed_interrupt

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


CLOSINGS = {
    "stdout": "sys.stdout.close()",
    "stderr": "sys.stderr.close()",
    "what they were": "sys.__stdout__.close(); sys.__stderr__.close()",
    "by with": "with sys.stdout: pass",
    "their bytes": "sys.stdout.buffer.close(); sys.stderr.buffer.close()",
    "detached": "io.TextIOWrapper(sys.stdout.detach()).close()",
    "none": "sys.stdout = sys.stderr = None",
    "by number": "os.close(1); os.close(2)",
}
CLOSED = """
import io, os, sys
from flowbench.foreign_code import diverted

with diverted():
    {closing}
    {said}
print("result")
print("error", file=sys.stderr)
"""


@pytest.mark.parametrize("how", CLOSINGS)
def test_who_closes_the_streams_takes_them_from_nobody_else(how: str) -> None:
    said = "" if how in ("none", "by number") else "print('python'); print('too', file=sys.stderr)"
    program = CLOSED.format(closing=CLOSINGS[how], said=said)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    expected = "python\ntoo\nerror\n" if said else "error\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "result\n", expected)


def test_a_lent_stream_is_a_stream_like_another(capfd: pytest.CaptureFixture[str]) -> None:
    """As libraries take it: with a file descriptor, an encoding, bytes below; also after its block."""
    with diverted():
        lent = sys.stdout
        assert lent.fileno() == sys.stderr.fileno() and lent.encoding and not lent.isatty() and lent.writable()
        lent.buffer.write(b"bytes\n")
        lent.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        io.TextIOWrapper(lent.buffer, encoding="latin-1", write_through=True).write("wrapped\n")
        lent.writelines(["two\n", "lines\n"])
        subprocess.run([sys.executable, "-c", "print('child')"], stdout=lent, check=True)
    print("later", file=lent, flush=True)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "bytes\nwrapped\ntwo\nlines\nchild\nlater\n")


def test_a_process_without_standard_output_has_none_afterwards() -> None:
    program = CLOSED.format(closing="os.write(2, b'x')", said="").replace('print("result")', "os.fstat(2); os.fstat(1)")
    done = subprocess.run(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, preexec_fn=lambda: os.close(1)
    )
    assert done.stderr.startswith("x") and "OSError: [Errno 9]" in done.stderr


def test_a_swallowed_interrupt_is_raised_where_it_is_asked_for() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert before is signal.default_int_handler
    with interrupts_noted():
        raise_swallowed_interrupt()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            raise_swallowed_interrupt()
    assert signal.getsignal(signal.SIGINT) is before and not interrupted()
    raise_swallowed_interrupt()


def test_handlers_of_others_stay() -> None:
    """Of who has set one before, of who sets one within, and in other threads, which may set none."""
    with interrupts_noted():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        with interrupts_noted():
            signal.raise_signal(signal.SIGINT)
        assert not interrupted()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            with interrupts_noted():
                pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert not errors and signal.getsignal(signal.SIGINT) is signal.default_int_handler
