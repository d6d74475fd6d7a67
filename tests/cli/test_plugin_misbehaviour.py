"""Plugins that print, break their promises or end the program, by the command: one sentence, and never exit code 0."""

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
PLUGIN = """
import ctypes, os, subprocess, sys
import numpy
from flowbench import Score
from flowbench.rewards import register

class Unspeakable(BaseException):
    def __str__(self):
        raise RuntimeError("no words")

class Odd(dict):
    def __repr__(self):
        raise RuntimeError("no words")

print("imported")

@register("mine")
def mine(*, share: float = 0.5):
    print("built")
    def score(samples):
        {body}
    return score
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`run(body)`: `flowbench score` on two pictures by a reward with this body, in a process of its own."""
    (tmp_path / "pictures").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / f"{name}.png")
        (tmp_path / "pictures" / f"{name}.txt").write_text("a thing")

    def score(body: str, *words: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "mine.py").write_text(PLUGIN.replace("{body}", body), encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-m", "flowbench", "score", "pictures", "--plugin", "mine.py", "--reward", "mine", *words],
            cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120,
        )  # fmt: skip

    return score


@pytest.mark.parametrize("style", ["json", "csv"])
def test_a_plugin_that_prints_does_not_spoil_the_table(run: Run, style: str) -> None:
    body = (
        "print('scored'); os.write(1, b'bytes\\n'); subprocess.run(['echo', 'child']); "
        "return [Score(numpy.float32(0.25)) for _ in samples]"
    )
    done = run(body, "--format", style)
    assert done.returncode == 0, done.stderr
    if style == "json":
        (summary,) = json.loads(done.stdout)
        assert summary["metrics"]["mine"]["overall"]["mean"] == 0.25
    else:
        assert "0.25" in done.stdout and done.stdout.startswith(done.stdout.split(",")[0])
    for said in ("imported", "built", "scored", "bytes", "child"):
        assert said in done.stderr and said not in done.stdout


@pytest.mark.parametrize(
    ("body", "said", "code"),
    [
        ("raise Unspeakable()", "Unspeakable: (its text cannot be read)", 2),
        ("raise GeneratorExit('done')", "GeneratorExit: done", 2),
        ("sys.exit(0)", "SystemExit: 0", 2),
        ("raise ValueError('half \\ud800')", "ValueError: half \\ud800", 2),
        ("os._exit(0)", "has ended the program by os._exit(0)", 1),
        ("os._exit(7)", "has ended the program by os._exit(7)", 7),
        ("return [Score(0.5, note=7) for _ in samples]", "a note of 7", 2),
        ("return [Score(0.5, {3: 0.5}) for _ in samples]", "a part with the name 3", 2),
        ("return [Score(0.5, details={'a': {1, 2}}) for _ in samples]", "details that JSON cannot hold", 2),
        ("return [Score(Odd()) for _ in samples]", "returned a value of <Odd instance", 2),
    ],
)
def test_what_a_plugin_does_wrong_is_a_sentence_and_no_success(run: Run, body: str, said: str, code: int) -> None:
    done = run(body, "--format", "json")
    assert done.returncode == code, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems")
def test_a_crash_in_c_says_where(run: Run) -> None:
    done = run("ctypes.string_at(0)")
    assert done.returncode < 0
    assert "Fatal Python error: Segmentation fault" in done.stderr and "mine.py" in done.stderr


def test_what_numpy_gives_goes_into_a_record_as_it_is_read_again(run: Run, tmp_path: Path) -> None:
    body = (
        "return [Score(numpy.float64(0.5), {'n': numpy.int64(3), 'odd': numpy.nan}, 'half \\ud800', "
        "{'box': numpy.arange(2), 'sure': numpy.bool_(True), 'pair': (1, 2)}) for _ in samples]"
    )
    done = run(body, "--out", "out")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "records.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert (record["value"], record["parts"]["n"], record["parts"]["odd"]) == (0.5, 3.0, None)
    assert record["details"] == {"box": [0, 1], "sure": True, "pair": [1, 2]}
    assert record["note"] == "half \\ud800"


def test_the_program_ends_with_an_error_when_a_plugin_has_ended_it(tmp_path: Path) -> None:
    """Also where no call is guarded: a suite that a plugin builds on demand."""
    (tmp_path / "mine.py").write_text(
        "import sys\nfrom flowbench.prompts import prompt_sets\nfrom flowbench.prompts.prompt_set import PromptSet\n"
        "prompt_sets.add('mine', PromptSet('mine', 'shapes', '1', lambda split: sys.exit(0), about='mine'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "flowbench", "eval", "--ckpt", "shapes", "--suite", "shapes", "--prompts", "mine",
         "--plugin", "mine.py", "--limit", "1", "--steps", "1", "--metric", "saturation"],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1 and "a plugin has ended the program by sys.exit" in done.stderr
