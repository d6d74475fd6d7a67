"""The fork server and the world, once for all fuzzing of a worker; the long fuzzing only where it is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from forkserver import ForkServer
from world import ENVIRONMENT, World

SEED = "FLOWBENCH_FUZZ_SEED"
"""Environment variable: a whole number, or "random"."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long fuzzing takes an hour: only `-m fuzz` runs it, whatever else is left out."""
    if "fuzz" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("fuzz")]
    if long:
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)


@pytest.fixture(scope="session")
def seed() -> int:
    """Of everything that is drawn."""
    word = os.environ.get(SEED, "0")
    return int.from_bytes(os.urandom(4)) if word == "random" else int(word)


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    """With the user's own home while it imports: there lie caches of libraries, such as matplotlib's fonts."""
    server = ForkServer({**os.environ, **ENVIRONMENT, "HOME": os.environ.get("HOME", "")})
    yield server
    server.close()


@pytest.fixture(scope="session")
def world(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("fuzz"), server)
