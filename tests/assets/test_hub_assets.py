"""Weights from the hub, by the real client and the real command, against a hub on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_hub import LocalHub

from flowbench.assets import find

Run = Callable[..., Any]
PINNED = find("clip-vit-h-14-processor")  # of a commit, without published digests
BRANCH = find("mask2former-hf")  # of `main`
FILES = {name: f"what {name} holds".encode() for name in PINNED.published}


@pytest.fixture
def pinned(hub: LocalHub) -> LocalHub:
    hub.add(PINNED.repo, FILES, PINNED.revision, large=("tokenizer.json",))
    return hub


def one_sentence(done: Any, *needles: str) -> None:
    """The last line of stderr is one error that says all this; exit code 2."""
    line = done.stderr.splitlines()[-1]
    assert done.returncode == 2
    assert line.startswith("error: ") and line.endswith((".", ").")), done.stderr
    for needle in needles:
        assert needle in line, line


def refusal(done: Any, *needles: str) -> None:
    """One sentence indeed: which files of which size, why not, and the mirror as a last way out."""
    what = f"'{PINNED.name}' is not here ({', '.join(PINNED.published)}; 4 MB), and "
    one_sentence(done, what, f"to '{PINNED.name}' in a mirror (FLOWBENCH_ASSETS).", *needles)
    assert ". " not in done.stderr.splitlines()[-1]


def test_pull_fetches_once(pinned: LocalHub, run: Run) -> None:
    first = run("assets", "pull", PINNED.name)
    assert first.stderr.strip() == f"fetching {PINNED.name} (4 MB, MIT) from {pinned.url}/{PINNED.repo}"
    folder = Path(first.stdout.split(": ")[1].strip())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert len(pinned.downloads) == len(FILES)

    pinned.requests.clear()
    again = run("assets", "pull", PINNED.name)
    assert (again.stdout, again.stderr, pinned.requests) == (first.stdout, "", [])
    assert run("assets", "path", PINNED.name, HF_HUB_OFFLINE="1").stdout.strip() == str(folder)


def test_only_the_listed_files_are_fetched(hub: LocalHub, run: Run) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"weights", "pytorch_model.bin": b"a pickle", "README.md": b""}
    hub.add(BRANCH.repo, files, "ab" * 20, large=("model.safetensors",))
    folder = Path(run("assets", "pull", BRANCH.name).stdout.split(": ")[1].strip())
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert folder.name == "ab" * 20
    hub.requests.clear()
    assert run("assets", "path", BRANCH.name, HF_HUB_OFFLINE="1").stdout.strip() == str(folder)
    assert hub.requests == []


def test_verify_finds_a_flipped_byte_and_pull_again_mends_it(pinned: LocalHub, run: Run) -> None:
    folder = Path(run("assets", "pull", PINNED.name).stdout.split(": ")[1].strip())
    whole = run("assets", "verify")
    assert whole.returncode == 0
    assert [line.split()[1:] for line in whole.stdout.splitlines()] == [["ok", "as", "named", "by", "the", "hub"]] * 6

    for name in ("tokenizer.json", "vocab.json"):  # one of each kind: named by its SHA-256, and by git's hash
        blob = folder / os.readlink(folder / name)
        blob.write_bytes(b"W" + FILES[name][1:])
    damaged = run("assets", "verify", PINNED.name)
    states = {line.split()[0]: line.split()[1] for line in damaged.stdout.splitlines()}
    assert [name for name, state in states.items() if state == "damaged"] == [
        f"{PINNED.name}/tokenizer.json",
        f"{PINNED.name}/vocab.json",
    ]
    one_sentence(damaged, "tokenizer.json is damaged", "vocab.json is damaged", f"pull --again {PINNED.name}")

    assert run("assets", "pull", "--again", PINNED.name).returncode == 0
    assert run("assets", "verify", PINNED.name).returncode == 0


def test_a_named_asset_that_is_missing_fails_verify(run: Run) -> None:
    one_sentence(run("assets", "verify", PINNED.name), f"{PINNED.name}/vocab.json is missing")
    assert run("assets", "verify").returncode == 0  # unnamed, nothing is here to verify


@pytest.mark.alone
def test_offline_refuses_at_once_and_asks_nobody(pinned: LocalHub, run: Run) -> None:
    program = (
        "import time\nfrom flowbench import assets\nfrom flowbench.errors import AssetError\n"
        f"for name in ({PINNED.name!r}, 'lpips-alex', 'geneval'):\n"
        "    before = time.perf_counter()\n"
        "    try: assets.folder(name)\n"
        "    except AssetError as error: print(time.perf_counter() - before, error)\n"
    )
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        lines = run(program=program, **{variable: "1"}).stdout.splitlines()
        assert len(lines) == 3
        assert sum(float(line.split()[0]) for line in lines[1:]) < 0.5  # the first one also imports the client
        assert all(f"{variable} forbids" in line and "FLOWBENCH_ASSETS" in line for line in lines)
        assert not any(". " in line for line in lines)
        assert "tokenizer.json" in lines[0] and pinned.url in lines[0]
        assert "https://download.pytorch.org/models" in lines[1]
    assert pinned.requests == []


def test_a_file_that_the_repository_has_lost(hub: LocalHub, run: Run) -> None:
    hub.add(PINNED.repo, {name: data for name, data in FILES.items() if name != "vocab.json"}, PINNED.revision)
    refusal(run("assets", "pull", PINNED.name), "has no vocab.json", PINNED.revision)
    assert hub.downloads == []


def test_a_gated_repository(pinned: LocalHub, run: Run) -> None:
    pinned.repositories[PINNED.repo].gated = True
    refusal(run("assets", "pull", PINNED.name), f"{pinned.url}/{PINNED.repo} is gated", "hf auth login")
    assert pinned.downloads == []


def test_an_unknown_repository_and_a_lost_revision(hub: LocalHub, run: Run) -> None:
    refusal(run("assets", "pull", PINNED.name), "no such repository", "HF_ENDPOINT")
    hub.add(PINNED.repo, FILES, "0" * 40)
    refusal(run("assets", "pull", PINNED.name), f"lost the revision {PINNED.revision}", "report it")


def test_no_connection_is_not_tried_twice(run: Run) -> None:
    before = time.monotonic()
    done = run("assets", "pull", PINNED.name, HF_ENDPOINT="http://127.0.0.1:9")
    assert time.monotonic() - before < 10  # the client's own tries take 23 seconds
    refusal(done, "fetching it from http://127.0.0.1:9", "refused", "check the network")


@pytest.mark.parametrize("name", ["tokenizer.json", "merges.txt"], ids=["large", "small"])
def test_what_arrives_damaged_is_refused_and_deleted(name: str, pinned: LocalHub, run: Run) -> None:
    """The client itself compares sizes only."""
    pinned.flipped.add(name)
    one_sentence(run("assets", "pull", PINNED.name), name, "is damaged", "was deleted")
    assert run("assets", "path", PINNED.name).returncode == 2
    pinned.flipped.clear()
    folder = Path(run("assets", "pull", PINNED.name).stdout.split(": ")[1].strip())
    assert (folder / name).read_bytes() == FILES[name]


def test_another_file_than_the_published_one_is_refused(hub: LocalHub, run: Run) -> None:
    """Sound by the hub's own word, but not the file whose digest the manifest states."""
    asset = find("bert-base-uncased")
    hub.add(asset.repo, {"vocab.txt": b"another vocabulary", "tokenizer_config.json": b"{}"}, asset.revision)
    one_sentence(run("assets", "pull", asset.name), "vocab.txt", asset.files[0].sha256, "was deleted")
    assert run("assets", "path", asset.name).returncode == 2


def test_another_size_than_the_published_one_is_refused(hub: LocalHub, run: Run) -> None:
    """Of a small file only the size may be known: here of tokenizer_config.json, once the vocabulary is let through."""
    asset = find("bert-base-uncased")
    hub.add(asset.repo, {"vocab.txt": b"[PAD]", "tokenizer_config.json": b"{}"}, asset.revision)
    program = (
        "import sys, dataclasses\nfrom flowbench.assets import ASSETS, AssetFile\nfrom flowbench.cli import main\n"
        f"files = (AssetFile('vocab.txt'), {asset.files[1]!r})\n"
        f"ASSETS[{asset.name!r}] = dataclasses.replace(ASSETS[{asset.name!r}], files=files)\n"
        "main(sys.argv[1:])\n"
    )
    one_sentence(
        run("assets", "pull", asset.name, program=program), "tokenizer_config.json", "2 bytes, published are 48"
    )


def test_pull_goes_on_after_a_failure(pinned: LocalHub, run: Run) -> None:
    done = run("assets", "pull", BRANCH.name, PINNED.name)
    assert done.stdout.startswith(f"{PINNED.name}: ")
    one_sentence(done, f"not fetched: {BRANCH.name}.")
    assert "no such repository" in done.stderr
