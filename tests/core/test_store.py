"""Atomic writes, logs that survive a kill, locks."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys

import pytest

from flowbench import store
from flowbench.errors import MissingFile, RunError


@pytest.mark.parametrize(
    ("name", "safe"),
    [("a b/c", "a-b-c"), ("../../etc/passwd", "etc-passwd"), ("..", "unnamed"), ("", "unnamed"), ("é-1.png", "1.png")],
)
def test_slug_never_leaves_its_folder(name, safe):
    assert store.slug(name) == safe


def test_write_replaces_the_whole_file_or_nothing(tmp_path, monkeypatch):
    path = store.write_text(tmp_path / "deep" / "file.txt", "old")

    def no_space(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", no_space)
    with pytest.raises(RunError, match=r"cannot write .*file\.txt: No space left on device"):
        store.write_text(path, "new and longer")
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["file.txt"]


def test_json_has_null_for_what_is_no_number(tmp_path):
    value = {"b": math.nan, "a": [math.inf, 1.5, {"x": -math.inf}], "text": "ä"}
    assert store.to_json(value) == '{"a": [null, 1.5, {"x": null}], "b": null, "text": "ä"}'
    assert store.read_json(store.write_json(tmp_path / "x.json", value))["a"] == [None, 1.5, {"x": None}]


def test_json_errors_name_the_file(tmp_path):
    with pytest.raises(MissingFile, match=r"x\.json: there is no such file"):
        store.read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(RunError, match=r"x\.json: not valid JSON"):
        store.read_json(tmp_path / "x.json")


@pytest.mark.parametrize("torn", ['{"step": 3, "rew', "x"])
def test_a_torn_last_line_is_dropped_and_then_cut(tmp_path, torn):
    path = tmp_path / "log.jsonl"
    for step in (1, 2):
        store.append_jsonl(path, {"step": step})
    with open(path, "a") as file:
        file.write(torn)
    assert [record["step"] for record in store.read_jsonl(path)] == [1, 2]
    store.append_jsonl(path, {"step": 3})
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 3}\n'


def test_several_lines_at_once_are_the_lines_one_by_one(tmp_path):
    lines = [{"step": 1, "words": "a\nb"}, {"step": 2, "value": float("nan")}]
    store.append_jsonl(tmp_path / "together.jsonl", *lines)
    for line in lines:
        store.append_jsonl(tmp_path / "single.jsonl", line)
    assert (tmp_path / "together.jsonl").read_bytes() == (tmp_path / "single.jsonl").read_bytes()
    assert (tmp_path / "single.jsonl").read_text() == '{"step": 1, "words": "a\\nb"}\n{"step": 2, "value": null}\n'


def test_a_log_that_is_nothing_but_a_torn_line(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"st')
    assert store.read_jsonl(path) == []
    store.append_jsonl(path, {"step": 1})
    assert store.read_jsonl(path) == [{"step": 1}]
    assert store.read_jsonl(tmp_path / "none.jsonl") == []


def test_a_damaged_line_inside_a_log_is_named(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\noops\n{"step": 3}\n')
    with pytest.raises(RunError, match="line 2: not valid JSON"):
        store.read_jsonl(path)


def test_digests_do_not_depend_on_order_and_equal_hashlib(tmp_path):
    assert store.digest({"a": 1, "b": 2}) == store.digest({"b": 2, "a": 1}) != store.digest({"a": 1, "b": 3})
    path = store.write_bytes(tmp_path / "x", b"abc" * 1_000_000)
    assert store.file_digest(path) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_a_lock_is_exclusive_and_free_again_afterwards(tmp_path):
    refused = pytest.raises(RunError, match=f"in use by process {os.getpid()}")
    with store.locked(tmp_path), refused, store.locked(tmp_path):
        pass
    with store.locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_a_lock_vanishes_with_its_process(tmp_path):
    """Another process holds it, is refused nothing, and is killed: then the folder is free, whatever the file says."""
    script = (
        "import sys, time; from flowbench import store\n"
        f"with store.locked({str(tmp_path)!r}):\n    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"in use by process {holder.pid}"), store.locked(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with store.locked(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text()) == os.getpid()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1, "a": 2}', "a key stands twice in one object"),
        ('{"a": NaN}', "NaN is no number of JSON's"),
        ("[" * 60 + "]" * 60, "its brackets are nested more than 50 deep"),
        ("[" * 100_000, "its brackets are nested more than 50 deep"),
        ("1" * 5000, "Exceeds the limit"),
        (b'"\xff"', "can't decode byte 0xff"),
        ("", "Expecting value"),
    ],
)
def test_what_is_no_json_is_refused(tmp_path, text, why):
    path = store.write_bytes(tmp_path / "x.json", text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RunError, match=rf"x\.json: not valid JSON \(.*{re.escape(why)}.*\)\. Delete it or restore it"):
        store.read_json(path)
    store.write_bytes(path, path.read_bytes() + b"\n")
    with pytest.raises(RunError, match=r"x\.json, line 1: not valid JSON"):
        store.read_jsonl(path)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("[]", "a list"), ("1", "a number"), ('"a"', "text"), ("null", "null"), ("true", "true or false")],
)
def test_an_object_is_an_object(tmp_path, text, kind):
    path = store.write_text(tmp_path / "x.json", text + "\n")
    for read in (store.read_object, store.read_sealed):
        with pytest.raises(RunError, match=rf"x\.json: {kind} where a JSON object belongs"):
            read(path)
    with pytest.raises(RunError, match=rf"x\.json, line 1: {kind} where a JSON object belongs"):
        store.read_jsonl(path)


def test_a_folder_in_the_place_of_a_file_and_a_file_in_that_of_a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    for read in (store.read_json, store.read_jsonl, store.read_bytes):
        with pytest.raises(RunError, match=r"folder: it cannot be read \(Is a directory\)"):
            read(tmp_path / "folder")
    (tmp_path / "file").touch()
    for write in (lambda path: store.write_text(path, "x"), lambda path: store.append_jsonl(path, {"a": 1})):
        with pytest.raises(RunError, match=r"cannot write .*file.x: (Not a directory|File exists)"):
            write(tmp_path / "file" / "x")
        with pytest.raises(RunError, match=r"cannot write .*: File name too long"):
            write(tmp_path / ("x" * 300))
    with pytest.raises(RunError, match="null byte"):
        store.write_text(tmp_path / "a\0b", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_half_a_character_is_written_and_read_again(tmp_path):
    value = {"name": "caf\udce9", "whole": "\U0001f600"}
    path = store.write_json(tmp_path / "x.json", value)
    assert store.read_json(path) == value and "\\udce9" in path.read_text() and "\U0001f600" in path.read_text()
    assert store.digest(value) == store.digest(store.read_json(path))
    assert store.write_text(tmp_path / "x.txt", "caf\udce9").read_text() == "caf\\udce9"


def test_a_seal_notices_every_change_but_of_the_form(tmp_path):
    path = store.write_sealed(tmp_path / "x.json", {"mean": 0.1 + 0.2, "low": math.nan, "n": 3})
    assert store.read_sealed(path) == {"mean": 0.1 + 0.2, "low": None, "n": 3}
    text = path.read_text()
    path.write_text(json.dumps(json.loads(text)))
    assert store.read_sealed(path)["n"] == 3
    for old, new in (('"n": 3', '"n": 4'), ('"n": 3', '"n": 3, "m": 1'), ('"n": 3', '"n": "3"'), ("null", "0.0")):
        path.write_text(text.replace(old, new))
        with pytest.raises(RunError, match=r"damaged, or edited by hand \(its content and its SHA-256 differ\)"):
            store.read_sealed(path)


@pytest.mark.parametrize("what", ["moved", "deleted", "another"])
def test_a_held_folder_that_goes_away_is_noticed(tmp_path, what):
    folder = tmp_path / "run"
    with store.locked(folder) as held:
        held.check()
        shutil.rmtree(folder) if what == "deleted" else folder.rename(tmp_path / "elsewhere")
        if what == "another":
            folder.mkdir()
            (folder / ".lock").touch()
        with pytest.raises(RunError, match=r"run was moved or deleted while this process worked in it"):
            held.check()
