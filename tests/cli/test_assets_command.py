"""`flowbench assets`: what it prints, and its mistakes. Fetching by it is tested in tests/assets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowbench.assets import ASSETS, Asset, AssetFile

Command = Callable[..., Any]
CHECKPOINT = b"a checkpoint"


def double(source: Path, target: Path) -> None:
    (target / "model.safetensors").write_bytes(source.read_bytes() * 2)


@pytest.fixture(autouse=True)
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One asset in a mirror; nothing else here, no network."""
    folder = tmp_path / "mirror" / "hpsv2"
    folder.mkdir(parents=True)
    (folder / "HPS_v2_compressed.pt").write_bytes(b"weights")
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(folder.parent))
    monkeypatch.setenv("FLOWBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    digest = hashlib.sha256(CHECKPOINT).hexdigest()
    tiny = Asset("tiny", "a test's", (AssetFile("tiny.pth", sha256=digest[:8]),), "MIT", url="http://127.0.0.1:9",
                 converter="test_assets_command:double", converted=("model.safetensors",), size=12)  # fmt: skip
    monkeypatch.setitem(ASSETS, "tiny", tiny)
    return folder


def test_list_shows_what_is_here_and_what_it_costs(flowbench: Command) -> None:
    lines = flowbench("assets", "list").stdout.splitlines()
    assert lines[0].split() == ["name", "here", "size", "licence", "what", "for", "home"]
    assert [line.split()[0] for line in lines[1:]] == list(ASSETS)
    rows = {line.split()[0]: line for line in lines[1:]}
    assert rows["hpsv2"].split()[1:5] == ["yes", "2.0", "GB", "Apache-2.0"]
    assert rows["pickscore"].split()[1:4] == ["no", "3.9", "GB"]
    assert rows["pickscore"].endswith("https://huggingface.co/yuvalkirstain/PickScore_v1")


def test_list_for_machines(flowbench: Command) -> None:
    rows = {row["name"]: row for row in json.loads(flowbench("assets", "list", "--format", "json").stdout)}
    assert list(rows) == list(ASSETS)
    assert rows["tiny"] == {"name": "tiny", "here": False, "size": 12, "licence": "MIT", "home": "http://127.0.0.1:9",
                            "about": "a test's"}  # fmt: skip


def test_path(flowbench: Command, mirror: Path) -> None:
    assert flowbench("assets", "path", "hpsv2").stdout == f"{mirror}\n"
    done = flowbench("assets", "path", "pickscore")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "error: 'pickscore' is not here (config.json, model.safetensors; 3.9 GB; not stated (code: MIT)): `flowbench "
        "assets pull pickscore` fetches it.\n"
    )


def test_pull_of_what_is_here_prints_its_folder(flowbench: Command, mirror: Path) -> None:
    done = flowbench("assets", "pull", "hpsv2")
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"hpsv2: {mirror}\n", "")


def test_verify_of_another_file_than_the_published_one(flowbench: Command, mirror: Path) -> None:
    done = flowbench("assets", "verify")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert done.exit_code == 2
    assert done.stdout.startswith(f"hpsv2/HPS_v2_compressed.pt  damaged  its hash is {digest}, published is 07cb0d20")
    assert done.stderr.startswith("error: hpsv2/HPS_v2_compressed.pt is damaged.")


def test_convert(flowbench: Command, tmp_path: Path) -> None:
    file = tmp_path / "tiny.pth"
    file.write_bytes(CHECKPOINT)
    place = tmp_path / "cache" / "assets" / "tiny"
    assert flowbench("assets", "convert", "tiny", file).stdout == f"{place}\n"
    assert (place / "model.safetensors").read_bytes() == CHECKPOINT * 2
    assert flowbench("assets", "path", "tiny").stdout == f"{place}\n"
    verified = flowbench("assets", "verify", "tiny")
    assert (verified.exit_code, verified.stdout) == (0, "tiny/model.safetensors  ok  as recorded\n")
    elsewhere = tmp_path / "elsewhere"
    assert flowbench("assets", "convert", "tiny", file, "--out", elsewhere).stdout == f"{elsewhere}\n"

    file.write_bytes(b"another")
    done = flowbench("assets", "convert", "tiny", file)
    assert done.exit_code == 2
    assert "the published one begins with " + hashlib.sha256(CHECKPOINT).hexdigest()[:8] in done.stderr
    assert flowbench("assets", "convert", "tiny", file, "--force").exit_code == 0
    assert (place / "model.safetensors").read_bytes() == b"another" * 2
    verified = flowbench("assets", "verify", "tiny")
    assert verified.stdout.endswith("ok  as recorded; made from another file than the published one\n")


@pytest.mark.parametrize(
    ("line", "needle"),
    [
        ("pull", "name the assets to fetch, or pass --all"),
        ("pull hpsv2 --all", "name the assets to fetch, or pass --all"),
        ("pull pickscor", "unknown asset 'pickscor'. Did you mean 'pickscore'?"),
        ("pull pickscore", "HF_HUB_OFFLINE forbids to fetch it"),
        ("pull --again hpsv2", "which is only read"),
        ("verify pickscor", "unknown asset 'pickscor'. Did you mean 'pickscore'?"),
        ("verify pickscore", "pickscore/model.safetensors is missing"),
        ("path pickscor", "unknown asset 'pickscor'. Did you mean 'pickscore'?"),
        ("convert geneval no-such.pth", "no-such.pth: there is no such file"),
        ("convert pickscore no-such.pth", "'pickscore' needs no conversion"),
    ],
)
def test_mistakes_are_one_sentence(line: str, needle: str, flowbench: Command) -> None:
    done = flowbench("assets", *line.split())
    assert done.exit_code == 2
    assert needle in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")


def test_nothing_here(flowbench: Command, mirror: Path) -> None:
    (mirror / "HPS_v2_compressed.pt").unlink()
    assert flowbench("assets", "verify").stdout == "no asset is on this machine\n"
