"""What holds of every built-in model: it is whole, small and without pickles, and names a recipe of its own."""

from __future__ import annotations

import pytest

from flowbench.config import load_config
from flowbench.models.built_in import BUILT_IN
from flowbench.models.settings import ModelSettings

WEIGHTS = {
    "text_encoder/model.safetensors", "text_encoder_2/model.safetensors",
    "transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
}  # fmt: skip


@pytest.fixture(params=BUILT_IN)
def name(request):
    return request.param


def test_at_most_twelve_megabytes_and_nothing_pickled(name):
    folder = BUILT_IN[name].folder
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert {path for path in files if path.endswith(".safetensors")} == WEIGHTS
    assert {path.suffix for path in files.values()} == {".safetensors", ".json", ".txt"}
    assert 1e6 < sum(files[path].stat().st_size for path in WEIGHTS) <= 12e6


def test_its_recipe_trains_it_on_prompts_that_it_knows(name):
    config = load_config(ModelSettings.read(BUILT_IN[name].folder, name).default_recipe)
    assert (config.model.name, config.prompts.name) == (name, name)
