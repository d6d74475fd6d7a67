"""Plugins that print, or end the program in the place of flowbench: stdout stays whole, and it is never exit code 0."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
LOUD = """
import ctypes, os, subprocess, sys
import numpy
from flowbench import Score
from flowbench.rewards import register

print("imported")

@register("loud")
def loud(*, share: float = 0.5):
    print("built")

    def score(samples):
        print("scored")
        os.write(1, b"bytes\\n")
        subprocess.run([sys.executable, "-c", "print('child')"])
        details = {"box": numpy.arange(2), "sure": numpy.bool_(True), "pair": (1, 2)}
        parts = {"n": numpy.int64(3), "odd": numpy.nan}
        return [Score(numpy.float32(0.25), parts, "half \\ud800", details) for _ in samples]

    return score
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`run(plugin, *words)`: `flowbench words... --plugin mine.py` in a process of its own."""

    def flowbench(plugin: str, *words: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "mine.py").write_text(plugin, encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "flowbench", *words, "--plugin", "mine.py"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)

    return flowbench


def test_a_plugin_that_prints_spoils_no_table_and_its_answers_are_read_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "a.png")
    done = run(LOUD, "score", "pictures", "--reward", "loud", "--format", "json", "--out", "out")
    assert done.returncode == 0, done.stderr
    (summary,) = json.loads(done.stdout)
    assert summary["metrics"]["loud"]["overall"]["mean"] == 0.25
    assert all(said in done.stderr for said in ("imported", "built", "scored", "bytes", "child"))
    (records,) = (tmp_path / "out").rglob("records.jsonl")
    record = json.loads(records.read_text(encoding="utf-8"))
    assert (record["value"], record["parts"]["n"], record["parts"]["odd"]) == (0.25, 3.0, None)
    assert record["details"] == {"box": [0, 1], "sure": True, "pair": [1, 2]}
    assert record["note"] == "half \\ud800"


@pytest.mark.parametrize(
    ("plugin", "said", "code"),
    [
        ("import os\nos._exit(0)\n", "error: flowbench_plugin_mine_", 1),
        ("from os import _exit\n_exit(7)\n", "by os._exit(7)", 7),
        ("raise SystemExit(0)\n", "it raised SystemExit: 0", 2),
    ],
)
def test_a_plugin_that_ends_the_program_is_reported(run: Run, plugin: str, said: str, code: int) -> None:
    done = run(plugin, "list", "rewards")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems")
def test_a_crash_in_c_says_where(run: Run) -> None:
    done = run("import ctypes\nctypes.string_at(0)\n", "list", "rewards")
    assert done.returncode < 0 and not done.stdout
    assert "Fatal Python error: Segmentation fault" in done.stderr and "mine.py" in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_process_that_a_plugin_forks_ends_as_it_likes(run: Run) -> None:
    plugin = (
        "import os\nfrom flowbench.rewards import register\n"
        "child = os.fork()\nchild or os._exit(0)\n"
        "@register(f'ended_with_{os.waitpid(child, 0)[1]}')\ndef mine():\n    'Nothing.'\n"
    )
    done = run(plugin, "list", "rewards")
    assert done.returncode == 0 and not done.stderr and "ended_with_0" in done.stdout


def test_sys_exit_where_no_call_is_guarded_is_no_success(
    flowbench: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a plugin's objective in the middle of a step."""
    monkeypatch.setattr("flowbench.cli.catalog._lines", lambda kind: sys.exit())
    done = flowbench("list", "rewards")
    assert (done.exit_code, done.stdout) == (1, "")  # type: ignore[attr-defined]
    assert "a plugin has ended the program by sys.exit" in done.stderr  # type: ignore[attr-defined]


CLOSES = """
import os, sys
from flowbench import Score
from flowbench.rewards import register

sys.stdout.close()
sys.stderr.close()

@register("closes")
def closes():
    def score(samples):
        sys.stdout.close()
        sys.stderr.close()
        os.close(1)
        return [Score(0.5) for _ in samples]

    return score
"""


def test_a_plugin_that_closes_the_streams_takes_them_from_nobody_else(run: Run, tmp_path: Path) -> None:
    """Neither the table nor the last line is lost, and the exit code is that of the work."""
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "a.png")
    done = run(CLOSES, "score", "pictures", "--reward", "closes", "--format", "json", "--out", "out")
    assert (done.returncode, done.stderr.partition(":")[0]) == (0, "scores"), done.stderr
    (summary,) = json.loads(done.stdout)
    assert summary["metrics"]["closes"]["overall"]["mean"] == 0.5


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems")
@pytest.mark.parametrize("as_an_error", [True, False])
def test_a_ctrl_c_that_a_library_swallows_ends_the_command(run: Run, tmp_path: Path, as_an_error: bool) -> None:
    """As numpy does while it is imported, which makes an ImportError of it, and other compiled modules, silently."""
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "a.png")
    plugin = (
        CLOSES.replace("os.close(1)", "press()") + "import signal\n\ndef press():\n    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n    except KeyboardInterrupt:\n"
        f"        {'raise ImportError(7) from None' if as_an_error else 'pass'}\n"
    )
    done = run(plugin, "score", "pictures", "--reward", "closes", "--out", "out")
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "interrupted")
