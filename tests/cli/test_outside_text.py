"""Names, tags and prompts from outside reach no terminal and no spreadsheet as anything but text."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Command = Callable[..., Any]
FORMULAS = ["=cmd|' /C calc'!A0", "+1+cmd|' /C calc'!A0", '-2+3+HYPERLINK("http://evil")']
ESCAPES = "\x1b]0;title taken\x07\x1b[31mred"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: Any) -> Path:
    """A folder of one picture, which stands in its table four times, each time with a tag that means harm."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    rows = [{"image": "a.png", "prompt": f"p{i}", "tag": tag} for i, tag in enumerate([*FORMULAS, ESCAPES])]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("style", [None, "markdown", "json", "csv", "latex", "html"])
def test_no_format_of_score_is_obeyed(style: str | None, pictures: Path, flowbench: Command) -> None:
    done = flowbench("score", ".", "--reward", "jpeg", *(("--format", style) if style else ()))
    assert done.exit_code == 0, done.output
    assert not OBEYED.search(done.output)
    assert "title taken" in done.stdout
    if style == "json":
        assert ESCAPES in json.loads(done.stdout)[0]["metrics"]["jpeg"]["tags"]
    if style == "csv":
        header, *_ = csv.reader(io.StringIO(done.stdout))
        assert [name for name in header if name[:1] in ("=", "+", "-")] == []
        assert f"'{FORMULAS[1]}" in header


def test_a_name_is_no_markup_on_a_terminal(world: Any, flowbench: Command, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich: as on a terminal, with a live bar
    suite = {"name": "x[/]", "prompt_set": "shapes", "steps": 2, "guidance": 1, "images_per_prompt": 1}
    (tmp_path / "markup.yaml").write_text(json.dumps({**suite, "scorers": ["jpeg"]}))
    words = ("--ckpt", world.model, "--suite", tmp_path / "markup.yaml", "--limit", "1", "--out", tmp_path / "out")
    done = flowbench("eval", *words)
    assert done.exit_code == 0, done.output
    assert "x[/]" in done.stdout and "x[/]: making pictures" in done.stderr


def test_a_mistake_is_one_line_whatever_was_said(flowbench: Command) -> None:
    done = flowbench("show", "a\nb\x1b[31m\u202e\udcff")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: nothing is called 'a b\\u001b[31m\\u202e\\udcff'")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes")
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_folder_whose_name_is_not_utf8_is_refused_on_any_terminal(encoding: str, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/pict\xffures"))
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    (folder / "a.txt").write_text("a caf\u00e9")
    done = subprocess.run(
        [sys.executable, "-m", "flowbench", "score", folder, "--reward", "jpeg", "--out", tmp_path / "out"],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding, "LANG": "C"}, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr.decode("utf-8", "backslashreplace")
    assert done.stderr.startswith(b"error: '")
    assert done.stderr.endswith(b"pict\\xffures': the name is not UTF-8. Rename it.\n")
