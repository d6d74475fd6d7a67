"""Blank words, paths that lead nowhere, folders for files and files for folders: one sentence, whatever the option."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


def assert_one_sentence(result: Any, needle: str) -> None:
    assert result.exit_code == 2, result.output
    assert needle in result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and line.endswith((".", "?"))


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
@pytest.mark.parametrize(
    "line",
    ["train --out {}", "train --out={}", "train {}", "eval --ckpt {}", "eval --ckpt shapes --suite {}", "score {}",
     "score pictures --reward {}", "score pictures --reward=jpeg --prompts={}", "eval --ckpt shapes --metric {}",
     "compare {} b", "export a --format jsonl --out {}", "report a --pictures {}", "leakage a {}", "view {}", "show {}",
     "assets pull {}", "list rewards --plugin {}", "doctor rewards {}", "cache clear --reward {}", "{}"],
)  # fmt: skip
def test_a_blank_word_is_refused(line: str, blank: str, flowbench: Command, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    refused = flowbench(*(word.replace("{}", blank) for word in line.split(" ")))
    assert_one_sentence(refused, "is blank: say what it is to be, or leave it out.")
    assert not list(tmp_path.iterdir())


def test_a_blank_names_its_option(flowbench: Command) -> None:
    assert_one_sentence(flowbench("train", "--out", ""), "--out is blank")
    assert_one_sentence(flowbench("train", "--out="), "--out is blank")
    assert_one_sentence(flowbench("train", "--out", "a\0b"), "--out holds a NUL character")
    assert_one_sentence(flowbench("eval", "--ckpt", "shapes", "--suite", ", ,"), "', ,' names nothing")


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Where nothing can be written: by what is there."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    return {
        "through a file": tmp_path / "file" / "x",
        "folder": tmp_path / "folder",
        "pipe": tmp_path / "pipe",
        "long": tmp_path / ("x" * 300),
        "in a loop": tmp_path / "loop" / "x",
        "nowhere": Path("/proc/nothing/x"),
    }


FILES = [
    "compare {one} {one} --out {}",
    "leaderboard {one} --out {}",
    "leaderboard {one} --html {}",
    "export {one} --format jsonl --out {}",
    "export {one} --format model-card --out {}",
    "leakage {prompts} {prompts} --out {}",
]
FOLDERS = [
    "score {one}/images --prompts {prompts} --reward jpeg --out {}",
    "export {one} --format geneval --out {}",
    "export {one} --format datasets --out {}",
]


def words_of(line: str, place: Path, world: Any, folder: Path) -> list[str]:
    one = next((world.run / "eval").iterdir())
    (folder / "prompts.txt").write_text("".join(f"a circle {each}\n" for each in (one / "images").iterdir()))
    return line.format(place, one=one, prompts=folder / "prompts.txt").split(" ")


@pytest.mark.parametrize("place", ["through a file", "folder", "pipe", "long", "in a loop", "nowhere"])
@pytest.mark.parametrize("line", FILES)
def test_a_file_that_cannot_be_written(
    line: str, place: str, places: dict[str, Path], world: Any, flowbench: Command, tmp_path: Path
) -> None:
    assert_one_sentence(flowbench(*words_of(line, places[place], world, tmp_path)), "")
    assert places["pipe"].is_fifo() and not list(places["folder"].iterdir())


@pytest.mark.parametrize("place", ["through a file", "pipe", "long", "in a loop", "nowhere"])
@pytest.mark.parametrize("line", FOLDERS)
def test_a_folder_that_cannot_be_made(
    line: str, place: str, places: dict[str, Path], world: Any, flowbench: Command, tmp_path: Path
) -> None:
    assert_one_sentence(flowbench(*words_of(line, places[place], world, tmp_path)), "")
    assert places["pipe"].is_fifo()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.EIO, "x", "/data/a"), "Input/output error: /data/a. Check that path, and what it lies on."),
        (OSError(errno.EISDIR, "x", "/data/a"), "Is a directory: /data/a. A folder stands where a file is needed"),
        (FileNotFoundError(errno.ENOENT, "x", b"/data/\xff"), r"No such file or directory: /data/\udcff. It is gone"),
        (MemoryError(), "the memory is used up. Take fewer at a time"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "the memory is used up"),
    ],
)
def test_what_the_system_says_is_a_sentence(
    error: Exception, sentence: str, flowbench: Command, monkeypatch: Any
) -> None:
    from flowbench import config

    def fails(name: str) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(config, "read_yaml", fails)
    assert_one_sentence(flowbench("train", "shapes-geneval"), sentence)


def test_a_report_does_nothing_in_vain(world: Any, flowbench: Command, tmp_path: Path) -> None:
    one = next((world.run / "eval").iterdir())
    assert_one_sentence(flowbench("report", one, "--pictures", tmp_path / "none"), "there is no such folder")
    assert_one_sentence(flowbench("report", one, "--base", world.base), "--base is for the report of a training run")
