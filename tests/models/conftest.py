"""Tiny pipelines on disk, made once per session, and models loaded from them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests/tiny.py
from tiny import make_pipeline


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline without T5 whose flowbench.json asks for no stand-in tokens, as the built-in model does."""
    return make_pipeline(tmp_path_factory.mktemp("models") / "plain", max_sequence_length=0)


@pytest.fixture(scope="session")
def with_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pipeline(tmp_path_factory.mktemp("models") / "t5", t5=True, max_sequence_length=16)


@pytest.fixture(scope="session")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as `plain`, with the fused adapter."""
    return make_pipeline(tmp_path_factory.mktemp("models") / "fused", max_sequence_length=0, fuse_adapter=True)


@pytest.fixture(scope="session")
def open_pipeline() -> Callable[[Path], Any]:
    """diffusers' own pipeline on a folder: the reference."""
    from diffusers import StableDiffusion3Pipeline

    def load(folder: Path) -> Any:
        absent = {} if (folder / "text_encoder_3").is_dir() else {"text_encoder_3": None, "tokenizer_3": None}
        pipeline = StableDiffusion3Pipeline.from_pretrained(folder, **absent)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return load


def move_adapter(model: Any, seed: int = 7, size: float = 0.05) -> None:
    """Give the adapter a B that is not zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.adapter_parameters().items():
            if ".lora_B." in name:
                parameter.copy_(size * torch.randn(parameter.shape, generator=generator))


@pytest.fixture(scope="session")
def moved() -> Callable[..., None]:
    return move_adapter
