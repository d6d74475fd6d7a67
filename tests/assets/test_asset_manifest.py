"""The manifest: complete, consistent in itself, and never a made-up digit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flowbench.assets import ASSETS, Asset, find
from flowbench.assets.asset import readable
from flowbench.assets.digests import RECORD, recorded
from flowbench.assets.prompt_files import PROMPT_FILES
from flowbench.errors import FlowbenchError, UnknownName
from flowbench.store import slug

EVERY = pytest.mark.parametrize("asset", ASSETS.values(), ids=list(ASSETS))


@EVERY
def test_an_entry_is_complete(asset: Asset) -> None:
    assert ASSETS[asset.name] is asset
    assert slug(asset.name) == asset.name  # a folder of that name is the asset's own
    assert bool(asset.repo) != bool(asset.url)  # one home
    assert asset.home.startswith("https://")
    assert asset.about and asset.licence and asset.files
    assert asset.size or asset in PROMPT_FILES  # of a few of these we know no size; each is below 3 MB
    assert asset.repo_type == ("dataset" if asset.repo and asset in PROMPT_FILES else "model")
    assert re.fullmatch(r"[0-9a-f]{40}|main|refs/pr/\d+", asset.revision)
    assert bool(asset.converter) == bool(asset.converted)
    assert not (asset.converter and len(asset.files) > 1)


@EVERY
def test_digests_are_hexadecimal_and_agree_with_the_name(asset: Asset) -> None:
    for file in asset.files:
        assert re.fullmatch(r"([0-9a-f]{8}|[0-9a-f]{64})?", file.sha256)
        in_name = re.search(r"-([0-9a-f]{8})\.pth$", file.path)
        if in_name:
            assert file.sha256.startswith(in_name[1])


@EVERY
def test_the_rounded_size_is_that_of_the_files(asset: Asset) -> None:
    sizes = [file.size for file in asset.files]
    if None not in sizes:
        assert asset.size == pytest.approx(sum(size or 0 for size in sizes), rel=0.08)


def test_every_file_of_a_plain_address_has_a_digest() -> None:
    """The hub names its files by their hashes; of all others only the manifest can tell a wrong one. An address with a
    commit in it always gives the same content, and what is read from it is counted."""
    plain = [asset for asset in ASSETS.values() if asset.url and not re.search(r"/[0-9a-f]{40}/", asset.url)]
    assert len(plain) >= 3
    assert [asset.name for asset in plain if not all(file.sha256 for file in asset.files)] == []


def test_prompt_files_are_pinned() -> None:
    for asset in PROMPT_FILES:
        assert asset.name.startswith("prompts-")
        assert re.search(r"[0-9a-f]{40}", asset.url or asset.revision), asset.name


def test_the_total_is_what_pull_all_says() -> None:
    assert round(sum(asset.size for asset in ASSETS.values()) / 1e9) == 15


def test_an_unknown_name_gets_the_closest_one() -> None:
    with pytest.raises(UnknownName, match=r"unknown asset 'pickscor'. Did you mean 'pickscore'?"):
        find("pickscor")


@pytest.mark.parametrize(
    ("size", "words"),
    [(3_940_000_000, "3.9 GB"), (276_000_000, "276 MB"), (231_508, "232 kB"), (48, "48 bytes"), (0, "unknown")],
)
def test_sizes_are_readable(size: int, words: str) -> None:
    assert readable(size) == words


@pytest.mark.parametrize("content", ['{"weights.bin": "abc"}', '{"weights.bin": {"sha256": 3}}', "[]", "{"])
def test_a_record_of_another_form_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(FlowbenchError, match=rf"{RECORD}: (no 'sha256' of 'weights.bin'|a list where|not valid JSON)"):
        recorded(tmp_path)
