"""A hub of our own and an empty home, for prompts that are fetched."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from local_hub import LocalHub, environment, serving


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with serving() as hub:
        yield hub


@pytest.fixture
def home(tmp_path: Path, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's environment for this process; where flowbench keeps what plain addresses give.

    The hub's client has read the environment before: what comes from the hub is fetched in a process of its own.
    """
    wanted = environment(hub, tmp_path)
    for name in {*os.environ} - {*wanted}:
        monkeypatch.delenv(name)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "flowbench" / "assets"
