"""One thread per process: models this small gain little from a second, and processes that share cores lose much."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `network` compare with published values on published weights: only where one is allowed to fetch."""
    if os.environ.get("FLOWBENCH_NETWORK") == "1":
        return
    for item in items:
        if item.get_closest_marker("network"):
            item.add_marker(pytest.mark.skip(reason="needs the model hub: set FLOWBENCH_NETWORK=1"))
