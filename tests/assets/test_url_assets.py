"""Weights from a plain address: checked before they get their name, fetched by one process, found in a mirror first."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from local_hub import LocalHub, environment

from flowbench import assets
from flowbench.assets import Asset, Check
from flowbench.errors import AssetError

Make = Callable[..., Asset]
CONTENT = bytes(range(256)) * 20
FILES = {"sac+logos one.pth": CONTENT}  # a name that must be quoted in the address


def left(folder: Path) -> set[str]:
    """What lies in a folder, but for the lock."""
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_the_first_use_fetches_and_says_so(
    hub: LocalHub, home: Path, plain: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    plain(FILES)
    assert (assets.held("plain"), assets.place("plain")) == (None, home / "plain")
    assert assets.folder("plain") == home / "plain" == assets.held("plain")
    assert capsys.readouterr().err == f"fetching plain (2 kB, MIT) from {hub.url}/plain/weights\n"
    assert (home / "plain" / "sac+logos one.pth").read_bytes() == CONTENT

    assert assets.folder("plain") == home / "plain"
    assert capsys.readouterr().err == ""
    assert hub.requests == ["GET /plain/weights/sac+logos one.pth"]


def test_what_came_is_recorded_and_verified(hub: LocalHub, home: Path, plain: Make) -> None:
    plain({"a.pth": CONTENT}, digests={"a.pth": hashlib.sha256(CONTENT).hexdigest()[:8]})
    folder = assets.folder("plain")
    record = json.loads((folder / "flowbench-assets.json").read_text())
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert record == {"a.pth": {"url": f"{hub.url}/plain/weights/a.pth", "size": 5120, "sha256": digest}}
    assert assets.verify("plain") == [Check("a.pth", "ok", "as published and recorded")]

    (folder / "a.pth").write_bytes(b"\1" + CONTENT[1:])
    [check] = assets.verify("plain")
    assert (check.file, check.state) == ("a.pth", "damaged")
    assets.pull("plain", again=True)
    assert assets.verify("plain")[0].state == "ok"


def test_a_wrong_digest_is_refused_and_nothing_is_left(home: Path, plain: Make) -> None:
    plain({"a.pth": CONTENT}, digests={"a.pth": "0" * 8})
    with pytest.raises(AssetError, match=f"SHA-256 {hashlib.sha256(CONTENT).hexdigest()}, published is 00000000"):
        assets.folder("plain")
    assert left(home / "plain") == set()


def test_a_wrong_size_is_refused(home: Path, plain: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = plain({"a.pth": CONTENT})
    described = (assets.AssetFile("a.pth", size=5121, sha256=asset.files[0].sha256),)
    monkeypatch.setitem(assets.ASSETS, "plain", Asset("plain", "", described, "MIT", url=asset.url))
    with pytest.raises(AssetError, match="gave 5120 bytes, 5121 are published"):
        assets.folder("plain")
    assert left(home / "plain") == set()


class Endless:
    """An answer of unknown length that never ends; `seconds` pass with each byte."""

    length = None

    def __init__(self, clock: list[float], seconds: float = 0.0):
        self.clock, self.seconds, self.reads = clock, seconds, 0

    def read1(self, most: int) -> bytes:
        self.reads += 1
        self.clock[0] += self.seconds
        return b"x" if self.seconds else b"x" * 2048


@pytest.mark.parametrize(
    ("seconds", "size", "reads", "said"),
    [
        (0.0, 5120, 3, "gives more than the 5120 bytes that are published"),
        (15.0, 10**9, 1374, "is too slow: 1373 byte"),
    ],
    ids=["endless", "one byte in a while"],
)
def test_no_answer_is_read_for_ever(
    seconds: float, size: int, reads: int, said: str, home: Path, plain: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with the published size, and at a deadline that depends on it: here 10 minutes and 20,000 s."""
    from contextlib import nullcontext

    from flowbench.assets import download

    asset, clock = plain({"a.pth": CONTENT}), [0.0]
    described = (assets.AssetFile("a.pth", size=size, sha256=asset.files[0].sha256),)
    monkeypatch.setitem(assets.ASSETS, "plain", Asset("plain", "", described, "MIT", url=asset.url))
    answer = Endless(clock, seconds)
    monkeypatch.setattr(download, "_opened", lambda address, asset: nullcontext(answer))
    monkeypatch.setattr(download.time, "monotonic", lambda: clock[0])
    with pytest.raises(AssetError, match=said):
        assets.folder("plain")
    assert answer.reads == reads
    assert left(home / "plain") == set()


def test_a_connection_that_breaks_off(hub: LocalHub, home: Path, plain: Make) -> None:
    plain({"a.pth": CONTENT})
    hub.cut.add("weights/a.pth")
    with pytest.raises(AssetError, match="broke off after 2560 of 5120 bytes"):
        assets.folder("plain")
    assert left(home / "plain") == set()


def test_a_server_that_says_no_or_nothing(hub: LocalHub, plain: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = plain({"a.pth": CONTENT})
    hub.plain.clear()
    with pytest.raises(AssetError, match=r"/weights/a.pth answers 404 Not Found: try again later, or [^.]*\.$"):
        assets.folder("plain")
    nobody = Asset("plain", "", asset.files, "MIT", url="http://127.0.0.1:9/weights")
    monkeypatch.setitem(assets.ASSETS, "plain", nobody)
    with pytest.raises(AssetError, match=r"http://127.0.0.1:9/weights cannot be reached \(.*refused\)"):
        assets.folder("plain")


def test_offline_asks_nobody(hub: LocalHub, home: Path, plain: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    plain({"a.pth": CONTENT})
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(AssetError, match=r"'plain' is not here \(a.pth; 2 kB\), and HF_HUB_OFFLINE forbids .*http"):
        assets.folder("plain")
    assert hub.requests == []
    assert not home.exists()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    folder = assets.folder("plain")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert assets.folder("plain") == folder


def test_two_at_once_fetch_once(hub: LocalHub, plain: Make) -> None:
    plain({"a.pth": CONTENT})
    hub.slow.add("weights/a.pth")
    said: list[str] = []
    threads = [threading.Thread(target=assets.pull, args=("plain", said.append)) for _ in range(2)]
    threads[0].start()
    assert hub.halfway.wait(10)
    threads[1].start()
    while not any(line.startswith("waiting for another process") for line in said):
        time.sleep(0.01)
    hub.go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(hub.downloads) == 1
    assert len(said) == 2  # one fetched, the other waited
    assert assets.verify("plain")[0].state == "ok"


def test_a_kill_leaves_no_file(hub: LocalHub, home: Path, plain: Make, tmp_path: Path) -> None:
    asset = plain({"a.pth": CONTENT})
    hub.slow.add("weights/a.pth")
    program = (
        "from flowbench import assets\n"
        f"assets.ASSETS['plain'] = assets.Asset('plain', '', {asset.files!r}, 'MIT', url={asset.url!r})\n"
        "assets.folder('plain')\n"
    ).replace("AssetFile(", "assets.AssetFile(")
    process = subprocess.Popen([sys.executable, "-c", program], env=environment(hub, tmp_path))
    assert hub.halfway.wait(30)
    while not left(home / "plain"):  # the answer has begun; the process opens its file
        time.sleep(0.01)
    assert assets.held("plain") is None
    process.kill()
    process.wait()
    assert assets.held("plain") is None
    assert [name.rpartition(".")[2] for name in left(home / "plain")] == ["tmp"]

    hub.slow.clear()
    assets.folder("plain")
    assert left(home / "plain") == {"a.pth", "flowbench-assets.json"}


def test_the_mirror_comes_first(
    hub: LocalHub, home: Path, plain: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain({"a.pth": CONTENT, "b.pth": b"b"})
    mirror = tmp_path / "mirror"
    (mirror / "plain").mkdir(parents=True)
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(mirror))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (mirror / "plain" / "a.pth").write_bytes(CONTENT)
    with pytest.raises(AssetError, match="'plain' is not here"):  # half of it does not count
        assets.folder("plain")
    (mirror / "plain" / "b.pth").write_bytes(b"b")
    assert assets.folder("plain") == assets.place("plain") == mirror / "plain"
    assert [check.state for check in assets.verify("plain")] == ["ok", "ok"]
    assert hub.requests == []
    with pytest.raises(AssetError, match=r"lies in the mirror .*plain, which is only read"):
        assets.pull("plain", again=True)


def test_a_mirror_serves_hub_assets_too(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mirror" / "mask2former-hf"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes(name.encode())
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(tmp_path / "mirror"))
    assert assets.folder("mask2former-hf") == folder
    digest = hashlib.sha256(b"config.json").hexdigest()
    assert assets.verify("mask2former-hf")[0] == Check("config.json", "unpublished", f"SHA-256 {digest}")


def test_a_mirror_that_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWBENCH_ASSETS", "/no/such/mirror")
    for call in (assets.held, assets.place, assets.folder, assets.verify):
        with pytest.raises(AssetError, match=r"FLOWBENCH_ASSETS is '/no/such/mirror', which is not a folder. Make it"):
            call("pickscore")


def test_a_cache_that_cannot_be_written(plain: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain({"a.pth": CONTENT})
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FLOWBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        AssetError, match=r"file/assets/plain cannot be written to \(Not a directory\).*FLOWBENCH_CACHE"
    ):
        assets.folder("plain")
