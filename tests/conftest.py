"""One thread per process: models this small gain little from a second, and processes that share cores lose much. No
score cache, but in the tests that are about it."""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_clip
import tiny_mask2former
import tiny_preferences
from local_hub import LocalHub, environment, serving

from flowbench.cli.machine import cores

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.pop("COLUMNS", None)  # of the terminal that the tests are started in, or of a worker of pytest-xdist
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["FLOWBENCH_SCORE_CACHE"] = "off"  # a test sees its own scores, and the user's cache none of ours

MOST_WORKERS = 8
"""Of pytest-xdist's: each takes up to 2.5 GB of memory, and beyond these the longest file decides."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: one for each core that these processes may use; a container may have fewer than its machine."""
    return min(cores(), MOST_WORKERS)


def pytest_collection_finish() -> None:
    """What the libraries and the tests' modules hold, half a million objects, is no garbage: to look for it there again
    and again took a sixth of the processor's time."""
    gc.freeze()
    gc.set_threshold(700, 10, 100)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `network` compare with published values on published weights: only where one is allowed to fetch."""
    if os.environ.get("FLOWBENCH_NETWORK") == "1":
        return
    for item in items:
        if item.get_closest_marker("network"):
            item.add_marker(pytest.mark.skip(reason="needs the model hub: set FLOWBENCH_NETWORK=1"))


@pytest.fixture(scope="session", autouse=True)
def cache_of_these_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where flowbench keeps what it fetches: apart for each worker, and not the user's but where a test may fetch."""
    if os.environ.get("FLOWBENCH_NETWORK") != "1":
        os.environ["FLOWBENCH_CACHE"] = str(tmp_path_factory.mktemp("flowbench-cache"))


@pytest.fixture(scope="session")
def tiny_mirror(tmp_path_factory: pytest.TempPathFactory):
    """A folder with tiny random weights for every built-in reward, in the formats of the published ones."""
    root = tiny_preferences.write_all(tmp_path_factory.mktemp("weights"))
    tiny_mask2former.write_asset(root / "geneval")
    return root


@pytest.fixture
def tiny_weights(tiny_mirror, monkeypatch: pytest.MonkeyPatch):
    """The same, in use: every reward builds its real network, only smaller."""
    from flowbench.rewards.geneval import colors

    tiny_preferences.use(monkeypatch, tiny_mirror)
    tiny_mask2former.use(monkeypatch)
    monkeypatch.setattr(colors, "ARCHITECTURE", tiny_clip.TINY_QUICK)
    return tiny_mirror


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    """A model hub of our own, for what is fetched."""
    with serving() as hub:
        yield hub


@pytest.fixture
def home(tmp_path: Path, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's environment for this process, with an empty home; where flowbench keeps what plain addresses give.

    The hub's client has read the environment before: what comes from the hub is fetched in a process of its own.
    """
    wanted = environment(hub, tmp_path)
    for name in {*os.environ} - {*wanted}:
        monkeypatch.delenv(name)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "flowbench" / "assets"
