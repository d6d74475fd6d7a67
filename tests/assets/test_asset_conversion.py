"""Checkpoints that our code rewrites: whole or not at all, from the published source or by force."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from local_hub import LocalHub, environment

from flowbench import assets
from flowbench.assets import Asset
from flowbench.errors import AssetError, MissingFile

Make = Callable[..., Asset]
CHECKPOINT = b"tensors " * 100
HALF = CHECKPOINT[:400]
OUTPUTS = ("config.json", "model.safetensors")


def halve(source: Path, target: Path) -> None:
    (target / "config.json").write_text("{}")
    (target / "model.safetensors").write_bytes(source.read_bytes()[:400])


def forget(source: Path, target: Path) -> None:
    (target / "config.json").write_text("{}")


def refuse(source: Path, target: Path) -> None:
    forget(source, target)
    raise AssetError("these are not its weights.")


def die(source: Path, target: Path) -> None:
    forget(source, target)
    os._exit(9)  # as after a kill: nothing is cleaned up


def converted_by(function: str) -> dict[str, object]:
    return {"converter": f"test_asset_conversion:{function}", "converted": OUTPUTS}


@pytest.fixture
def asset(plain: Make) -> Asset:
    return plain({"swin.pth": CHECKPOINT}, **converted_by("halve"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_first_use_fetches_and_converts(
    asset: Asset, hub: LocalHub, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert assets.place("plain") == home / "plain"
    assert assets.folder("plain") == home / "plain"
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["fetching", "converting"]
    assert (home / "plain" / "model.safetensors").read_bytes() == HALF
    assert names(home / "plain") == ["config.json", "flowbench-assets.json", "model.safetensors"]
    assert assets.folder("plain") == home / "plain"
    assert (len(hub.downloads), capsys.readouterr().err) == (1, "")


def test_source_and_outputs_are_recorded_and_verified(asset: Asset, home: Path) -> None:
    folder = assets.folder("plain")
    record = json.loads((folder / "flowbench-assets.json").read_text())
    assert record["model.safetensors"] == {
        "made_by": "test_asset_conversion:halve",
        "made_from": "swin.pth",
        "made_from_sha256": hashlib.sha256(CHECKPOINT).hexdigest(),
        "sha256": hashlib.sha256(HALF).hexdigest(),
        "size": 400,
    }
    assert [(check.file, check.state, check.detail) for check in assets.verify("plain")] == [
        ("config.json", "ok", "as recorded"),
        ("model.safetensors", "ok", "as recorded"),
        ("swin.pth", "ok", "as published and recorded"),
    ]
    (folder / "model.safetensors").write_bytes(b"T" + HALF[1:])
    assert [check.state for check in assets.verify("plain")] == ["ok", "damaged", "ok"]
    assets.pull("plain", again=True)
    assert [check.state for check in assets.verify("plain")] == ["ok", "ok", "ok"]


def test_the_source_may_be_deleted_afterwards(asset: Asset, home: Path) -> None:
    folder = assets.folder("plain")
    (home / "plain.source" / "swin.pth").unlink()
    assert assets.folder("plain") == folder
    assert [check.file for check in assets.verify("plain")] == list(OUTPUTS)


def test_a_source_in_the_mirror_is_converted_offline(
    asset: Asset, hub: LocalHub, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror" / "plain").mkdir(parents=True)
    (tmp_path / "mirror" / "plain" / "swin.pth").write_bytes(CHECKPOINT)
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(tmp_path / "mirror"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert assets.folder("plain") == home / "plain"
    assert assets.pull("plain", again=True) == home / "plain"
    assert hub.requests == []
    assert names(tmp_path / "mirror" / "plain") == ["swin.pth"]  # which is only read


def test_only_the_published_source_unless_forced(asset: Asset, tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    other.write_bytes(b"other")
    expected = f"its SHA-256 is {hashlib.sha256(b'other').hexdigest()}, the published one begins with"
    with pytest.raises(AssetError, match=f"{expected} {asset.files[0].sha256}.*--force"):
        assets.convert("plain", other)
    assert assets.held("plain") is None
    folder = assets.convert("plain", other, force=True)
    assert (folder / "model.safetensors").read_bytes() == b"other"


def test_what_cannot_be_converted(asset: Asset, tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"nothing.pth: there is no such file"):
        assets.convert("plain", tmp_path / "nothing.pth")
    with pytest.raises(AssetError, match="'pickscore' needs no conversion"):
        assets.convert("pickscore", tmp_path / "nothing.pth")


def test_out_may_be_new_or_empty_or_a_conversion(asset: Asset, tmp_path: Path) -> None:
    source = tmp_path / "swin.pth"
    source.write_bytes(CHECKPOINT)
    out = tmp_path / "out"
    for _ in range(2):  # new, then an earlier conversion
        assert assets.convert("plain", source, out) == out
        assert names(out) == ["config.json", "flowbench-assets.json", "model.safetensors"]
    other = tmp_path / "photos"
    other.mkdir()
    assert assets.convert("plain", source, other) == other
    (other / "flowbench-assets.json").unlink()
    with pytest.raises(AssetError, match=r"photos holds something other than a conversion. Give another --out"):
        assets.convert("plain", source, other)


@pytest.mark.parametrize(
    ("function", "words"), [("refuse", "not its weights"), ("forget", "wrote no model.safetensors")]
)
def test_a_failure_leaves_what_was_there(
    function: str, words: str, asset: Asset, plain: Make, home: Path, tmp_path: Path
) -> None:
    folder = assets.folder("plain")
    plain({"swin.pth": CHECKPOINT}, **converted_by(function))
    with pytest.raises(AssetError, match=words):
        assets.pull("plain", again=True)
    assert (folder / "model.safetensors").read_bytes() == HALF
    assert names(home) == ["plain", "plain.source"]


def test_a_kill_leaves_nothing_half(asset: Asset, hub: LocalHub, home: Path, tmp_path: Path) -> None:
    source = tmp_path / "swin.pth"
    source.write_bytes(CHECKPOINT)
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\nfrom flowbench import assets\n"
        "assets.ASSETS['plain'] = assets.Asset('plain', '', (assets.AssetFile('swin.pth'),), 'MIT', url='http://x',\n"
        f"    converter='test_asset_conversion:die', converted={OUTPUTS!r})\n"
        f"assets.convert('plain', Path({str(source)!r}))\n"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    killed = subprocess.run(
        [sys.executable, "-c", program], env=environment(hub, tmp_path, PYTHONPATH=paths), check=False
    )
    assert killed.returncode == 9
    assert assets.held("plain") is None
    assert [name for name in names(home) if name.endswith(".tmp")]
    assets.convert("plain", source)
    assert names(home) == ["plain", "plain.source"]
    assert (home / "plain" / "model.safetensors").read_bytes() == HALF
