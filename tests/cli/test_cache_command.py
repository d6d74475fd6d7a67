"""`flowbench cache`: what it shows, what it drops, and its mistakes."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from flowbench.rewards.cache import file_path
from flowbench.rewards.cache_file import CacheFile

Command = Callable[..., Any]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a cache in a folder of this test, which is not there yet."""
    monkeypatch.setenv("FLOWBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("FLOWBENCH_SCORE_CACHE", "on")
    return file_path()


@pytest.fixture
def filled(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three scores of pickscore, one of them nine days old, and one of ocr."""
    file, now = CacheFile(path), time.time()
    with monkeypatch.context() as patch:
        patch.setattr("flowbench.rewards.cache_file.time.time", lambda: now - 9 * 86400)
        file.put("pickscore", {b"old": "[1]"})
    file.put("pickscore", {b"one": "[1]", b"two": "[1]"})
    file.put("ocr", {b"a": "[1]"})
    file.count("pickscore", 5, 3)
    file.close()
    return path


def test_stats_of_nothing_make_no_file(flowbench: Command, path: Path) -> None:
    said = flowbench("cache", "stats")
    assert said.exit_code == 0
    assert "not there yet" in said.stdout
    assert not path.exists()
    assert "is empty" in flowbench("cache", "clear").stdout
    assert "Did you mean 'pickscore'?" in flowbench("cache", "clear", "--reward", "pikscore").stderr
    assert not path.exists()


def test_stats_by_reward(flowbench: Command, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = json.loads(flowbench("cache", "stats", "--format", "json").stdout)
    assert (data["file"], data["on"], data["scores"]) == (str(filled), True, 4)
    picks = data["rewards"]["pickscore"]
    assert (picks["scores"], picks["hits"], picks["misses"]) == (3, 5, 3)
    assert (date.fromisoformat(picks["newest"]) - date.fromisoformat(picks["oldest"])).days == 9
    assert picks["size"] == 3 * (3 + len("[1]"))
    lines = flowbench("cache", "stats", "--format", "csv").stdout.splitlines()
    assert lines[0] == "reward,scores,size,found,not found,oldest,newest"
    assert [line.split(",")[:2] for line in lines[1:]] == [["ocr", "1"], ["pickscore", "3"]]
    assert lines[2].endswith(time.strftime("%Y-%m-%d", time.gmtime()))
    monkeypatch.setenv("FLOWBENCH_SCORE_CACHE", "off")
    assert "Turned off" in flowbench("cache", "stats").stdout


def test_clear_drops_what_is_named(flowbench: Command, filled: Path) -> None:
    assert flowbench("cache", "clear", "--older-than", "8").stdout.startswith("1 scores dropped")
    assert flowbench("cache", "clear", "--reward", "pickscore").stdout.startswith("2 scores dropped")
    assert flowbench("cache", "clear", "--reward", "pickscore").stdout.startswith("0 scores dropped")
    assert flowbench("cache", "clear", "--reward", "hpsv2.1").stdout.startswith("0 scores dropped")
    wrong = flowbench("cache", "clear", "--reward", "ocrr")
    assert wrong.exit_code == 2
    assert "Did you mean 'ocr'?" in wrong.output
    assert flowbench("cache", "clear").stdout.startswith("1 scores dropped")
    assert CacheFile(filled).kept() == []


def test_a_damaged_file_is_reported_and_cleared(flowbench: Command, path: Path) -> None:
    path.write_bytes(b"no database " * 1000)
    said = flowbench("cache", "stats")
    assert said.exit_code == 2
    assert "flowbench cache clear" in said.output
    assert "deleted" in flowbench("cache", "clear").stdout
    assert not path.exists()
    assert flowbench("cache", "stats").exit_code == 0


def test_a_busy_file_is_not_deleted(flowbench: Command, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    monkeypatch.setattr("flowbench.rewards.cache_file.PATIENCE", 0.1)
    other = sqlite3.connect(filled, isolation_level=None)
    other.execute("begin immediate")
    said = flowbench("cache", "clear")
    assert (said.exit_code, "locked" in said.output) == (2, True)
    other.execute("rollback")
    assert len(CacheFile(filled).kept()) == 2


def test_a_folder_in_the_files_place_is_said(flowbench: Command, path: Path) -> None:
    path.mkdir()
    for words in (("stats",), ("clear",), ("clear", "--reward", "mine")):
        done = flowbench("cache", *words)
        assert (
            done.exit_code == 2 and "it is a folder, where the score cache's file belongs. Move it away" in done.stderr
        )
    assert path.is_dir()


def test_a_damaged_day_is_left_out(flowbench: Command, filled: Path) -> None:
    with sqlite3.connect(filled) as connection:
        connection.execute("update scores set day = 99999999999 where key = ?", (b"one",))
        connection.execute("update scores set day = 'x' where key = ?", (b"two",))
    picks = json.loads(flowbench("cache", "stats", "--format", "json").stdout)["rewards"]["pickscore"]
    assert picks["scores"] == 1


def test_a_home_that_is_nobodys(flowbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWBENCH_CACHE", "~nobody-of-that-name/cache")
    done = flowbench("cache", "stats")
    assert done.exit_code == 2 and "there is no such home folder" in done.stderr
