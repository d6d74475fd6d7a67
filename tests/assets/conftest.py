"""Commands in a process of their own beside the hub, and an asset that its address serves."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_hub import LocalHub, environment

from flowbench.assets import ASSETS, Asset, AssetFile

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(hub: LocalHub, tmp_path: Path) -> Run:
    """`flowbench words...` in a process of its own, with this hub (`endpoint=` for another) and an empty home."""

    def flowbench(*words: str, program: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        start = ["-c", program] if program else ["-m", "flowbench"]
        done = subprocess.run(
            [sys.executable, *start, *words],
            env=environment(hub, tmp_path, **variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return flowbench


@pytest.fixture
def plain(hub: LocalHub, home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asset]:
    """Make an asset of a plain address: contents by file name, with the right digests unless `digests` says other."""

    def make(files: dict[str, bytes], digests: dict[str, str] | None = None, **more: Any) -> Asset:
        hub.plain.update({f"weights/{name}": data for name, data in files.items()})
        known = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()} | (digests or {})
        described = tuple(AssetFile(name, sha256=known[name]) for name in files)
        asset = Asset("plain", "a test's", described, "MIT", url=f"{hub.url}/plain/weights", size=1500, **more)
        monkeypatch.setitem(ASSETS, "plain", asset)
        return asset

    return make
