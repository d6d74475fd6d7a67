"""Shared by the metric tests: weights on disk, written once for the session, and pictures to measure."""

from __future__ import annotations

import numpy
import pytest
import tiny_clip
import tiny_metrics
from PIL import Image

from flowbench.metrics import cmmd, diversity, registry
from flowbench.types import Prompt, Sample


@pytest.fixture(scope="session")
def mirror(tmp_path_factory):
    """The folder with the weights of every built-in metric."""
    return tiny_metrics.write_assets(tmp_path_factory.mktemp("assets"))


@pytest.fixture
def weights(mirror, monkeypatch):
    """The same, in use."""
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(mirror))
    monkeypatch.setattr(diversity, "ARCHITECTURE", tiny_clip.TINY_QUICK)
    monkeypatch.setattr(cmmd, "ARCHITECTURE", tiny_clip.TINY_QUICK)
    return mirror


@pytest.fixture
def keep_registry():
    """Take out again what a test registers."""
    before = set(registry.names())
    yield registry
    for name in set(registry.names()) - before:
        del registry._targets[name]
        registry._cards.pop(name, None)


def _picture(seed, size=(40, 40)):
    """Smooth colours with a rectangle and a little noise."""
    rng = numpy.random.default_rng(seed)
    width, height = size
    slope = numpy.linspace(0, 1, width)[None, :, None] * rng.integers(0, 200, 3)
    pixels = slope + rng.integers(0, 55, 3) + rng.integers(0, 5 + 4 * (seed % 8), (height, width, 3))
    top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
    pixels[top : top + height // 3, left : left + width // 3] = rng.integers(0, 255, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(numpy.uint8))


@pytest.fixture
def picture():
    """seed, (width, height) -> a picture."""
    return _picture


@pytest.fixture
def samples():
    """Five samples of two prompts in mixed order."""
    prompts = [Prompt("a", "a dog"), Prompt("b", "a bus")]
    return [Sample(prompts[seed % 2], _picture(seed), seed) for seed in range(5)]


@pytest.fixture
def reference():
    """Four reference pictures of two sizes."""
    return [_picture(seed, size) for seed, size in enumerate([(40, 40), (48, 36), (48, 36), (40, 40)], 100)]
