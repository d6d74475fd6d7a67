"""Nothing that is not finite passes: weights when they are loaded, pictures when they are made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flowbench.errors import ConfigError, ModelError, NotFinite
from flowbench.models import FlowModel, finite, load_model
from flowbench.types import Prompt

PROMPTS = [Prompt("a", "a red circle"), Prompt("b", "a star"), Prompt("c", "a heart")]


@pytest.fixture(scope="module")
def model(plain: Path) -> FlowModel:
    """One for all tests that leave it as it is."""
    return load_model(plain)


def broken(plain: Path, folder: Path, part: str, place: int, value: float) -> str:
    """A copy of the pipeline with one number of the largest weight of one network changed; its name."""
    shutil.copytree(plain, folder)
    (path,) = (folder / part).glob("*.safetensors")
    tensors = load_file(path)
    name = max(tensors, key=lambda each: (tensors[each].numel(), each))
    tensors[name].view(-1)[place] = value
    save_file(tensors, path, metadata={"format": "pt"})
    return name


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "text_encoder_2"])
def test_a_weight_that_is_not_finite_is_named_when_it_is_loaded(plain: Path, tmp_path: Path, part: str) -> None:
    name = broken(plain, tmp_path / "broken", part, -1, float("nan"))
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path / "broken")
    assert f"broken: its weight {part}: {name} is not finite" in str(caught.value)


def test_of_a_large_model_the_rest_is_named_when_pictures_fail(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finite, "WHOLE", 0)
    monkeypatch.setattr(finite, "_HEAD", 8)
    name = broken(plain, tmp_path / "early", "transformer", 7, float("inf"))
    with pytest.raises(ModelError, match=f"its weight transformer: {name} is not finite"):
        load_model(tmp_path / "early")
    broken(plain, tmp_path / "late", "transformer", 8, float("nan"))
    model = load_model(tmp_path / "late")
    with pytest.raises(NotFinite, match=f"a picture is not finite .* so is its weight transformer: {name}"):
        model.generate(PROMPTS[:1], [1], steps=1, guidance=1.0)


def test_a_sum_that_is_too_large_for_its_dtype_is_no_fault() -> None:
    layer = torch.nn.Linear(300, 300).half()
    torch.nn.init.constant_(layer.weight, 60000.0)
    assert not layer.weight.sum().isfinite()
    assert finite.unsound({"part": layer}) is None
    layer.weight.data[299, 299] = float("inf")
    layer.bias.data[0] = float("nan")
    assert finite.unsound({"other": torch.nn.Linear(2, 2), "part": layer}) == "part: weight"
    assert finite.unsound({"part": layer}, head=100) == "part: bias"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_of_latents_that_are_not_finite_comes_no_picture(model: FlowModel, value: float) -> None:
    latents = model.noise([1, 2, 3])
    whole = model.decode(latents)
    latents[1, 2, 3, 4] = value
    first, second, third = model.decode(latents)
    assert second is None
    assert [picture.tobytes() for picture in (first, third)] == [whole[0].tobytes(), whole[2].tobytes()]


def test_of_pixels_that_are_not_finite_comes_no_picture(plain: Path) -> None:
    model = load_model(plain)
    torch.nn.init.constant_(model.vae.decoder.conv_out.bias, 3e38)
    model.vae.decoder.conv_out.weight.data *= 1e38
    assert model.decode(model.noise([1])) == [None]


def test_generate_raises_and_hands_over_the_others(model: FlowModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = model.generate(PROMPTS, [1, 2, 3], steps=2, guidance=1.0, batch_size=2)
    noise = model.noise
    monkeypatch.setattr(model, "noise", lambda seeds: noise(seeds) * torch.tensor(
        [float("nan") if seed == 2 else 1.0 for seed in seeds]).view(-1, 1, 1, 1))  # fmt: skip
    with pytest.raises(NotFinite, match=r"a picture is not finite .* though its weights are") as caught:
        model.generate(PROMPTS, [1, 2, 3], steps=2, guidance=1.0, batch_size=2)
    first, second, third = caught.value.made
    assert second is None
    assert (first.prompt, third.seed) == (PROMPTS[0], 3)
    assert [each.image.tobytes() for each in (first, third)] == [whole[0].image.tobytes(), whole[2].image.tobytes()]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"guidance": float("nan")}, "guidance nan"),
        ({"guidance": float("inf")}, "guidance inf"),
        ({"steps": 0}, "steps: 0"),
        ({"steps": -1}, "steps: -1"),
        ({"steps": float("nan")}, "steps: nan"),
        ({"steps": float("inf")}, "steps: inf"),
        ({"steps": 2.5}, r"steps: 2\.5"),
        ({"steps": 10**9}, "steps: 1000000000"),
        ({"batch_size": 0}, "batch_size 0"),
    ],
)
def test_settings_that_are_no_numbers_of_that_kind_are_refused(
    model: FlowModel, settings: dict[str, float], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        model.generate(PROMPTS[:1], [1], **{"steps": 2, "guidance": 3.0, **settings})
