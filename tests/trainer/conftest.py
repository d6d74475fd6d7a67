"""A tiny pipeline with the shapes vocabulary, and short training runs on it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests/tiny.py
sys.path.insert(0, str(Path(__file__).parent))  # for tests/trainer/tiny_runs.py
from tiny import make_pipeline


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ordinary PEFT layers, as SD3.5 has them."""
    return make_pipeline(tmp_path_factory.mktemp("trainer") / "plain", max_sequence_length=0, vocabulary="shapes")


@pytest.fixture(scope="session")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights with the fused adapter, as the built-in model has it."""
    folder = tmp_path_factory.mktemp("trainer") / "fused"
    return make_pipeline(folder, max_sequence_length=0, vocabulary="shapes", fuse_adapter=True)
