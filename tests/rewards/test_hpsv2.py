"""HPSv2 and v2.1 on a tiny CLIP in their published files: the fit of the picture, the cosine, the two versions."""

from __future__ import annotations

import pytest
import tiny_clip
import tiny_preferences
import torch
from PIL import Image

from flowbench import rewards
from flowbench.config import load_config
from flowbench.errors import AssetError
from flowbench.images import to_tensor
from flowbench.rewards import hpsv2
from flowbench.types import Prompt, Sample

SAMPLES = tiny_preferences.samples()
IMAGES = [sample.image for sample in SAMPLES]
TEXTS = [sample.prompt.text for sample in SAMPLES]
SIZES = [(512, 512), (300, 500), (500, 300), (224, 100), (100, 33), (37, 41), (1000, 3)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("assets")
    tiny_preferences.write_hpsv2(root / "hpsv2", "v2")
    tiny_preferences.write_hpsv2(root / "hpsv2.1", "v2.1")
    return root


@pytest.fixture(autouse=True)
def mirror(root, monkeypatch):
    tiny_preferences.use(monkeypatch, root)


def published_fit(pixels, size, antialias):
    """What HPSv2 does with torchvision, the antialiasing said aloud, and padded in every case."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as vision

    scale = size / float(max(pixels.shape[1:]))
    height, width = (round(side * scale) for side in pixels.shape[1:])
    resized = vision.resize(pixels, [height, width], InterpolationMode.BICUBIC, antialias=antialias)
    down, across = size - height, size - width
    return vision.pad(resized, [across // 2, down // 2, across - across // 2, down - down // 2], fill=0)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_picture_is_fitted_as_published(height, width, antialias):
    pixels = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    found = hpsv2.fit(pixels, 224, antialias)
    assert found.shape == (3, 224, 224)
    assert torch.equal(found, published_fit(pixels, 224, antialias))


def test_where_the_zeros_go_by_hand():
    """100 x 33 becomes 32 x 11: 21 columns are missing, 10 on the left and 11 on the right."""
    found = hpsv2.fit(torch.ones(3, 100, 33), 32, antialias=True)[0]
    columns = found.abs().sum(dim=0)
    assert [column for column in range(32) if columns[column] > 0] == list(range(10, 21))
    assert found[:, 10:21].sub(1).abs().max() < 1e-6


def test_a_picture_of_the_right_side_is_only_padded():
    pixels = torch.rand(3, 20, 32)
    assert hpsv2.fit(pixels, 32, antialias=False)[:, 6:26].sub(pixels).abs().max() < 1e-6
    assert hpsv2.fit(pixels, 32, antialias=True)[:, 6:26].sub(pixels).abs().max() < 1e-6


def test_a_line_one_pixel_high_stays_one_pixel_high():
    found = hpsv2.fit(torch.ones(3, 1, 2000), 32, antialias=True)[0]
    assert found.sum(dim=1).nonzero().flatten().tolist() == [15]


def test_antialiasing_is_what_it_is_called():
    """96 columns to 32: one in three is white, just where a new column's middle lies. Antialiased, all are 1/3."""
    pixels = torch.tensor([0.0, 1.0, 0.0]).repeat(32)[None, None].expand(3, 96, 96)
    assert hpsv2.fit(pixels, 32, antialias=False).sub(1).abs().max() < 1e-6
    assert hpsv2.fit(pixels, 32, antialias=True)[:, :, 2:-2].sub(1 / 3).abs().max() < 0.01


def test_black_edges_are_black_before_they_are_normalised():
    found = hpsv2.preprocess(Image.new("RGB", (64, 32), "white"), 32, antialias=False)
    black = [-mean / std for mean, std in zip(tiny_preferences.CLIP_MEAN, tiny_preferences.CLIP_STD, strict=True)]
    white = [(1 - mean) / std for mean, std in zip(tiny_preferences.CLIP_MEAN, tiny_preferences.CLIP_STD, strict=True)]
    assert found[:, 0, 0].tolist() == pytest.approx(black, abs=1e-6)
    assert found[:, 16, 16].tolist() == pytest.approx(white, abs=1e-5)


def reference(root, name, antialias):
    """The cosine by open_clip's own model, its own tokenizer and the published fit."""
    import open_clip

    model = open_clip.CLIP(**open_clip.get_model_config(tiny_clip.TINY)).eval()
    held = torch.load(root / name / hpsv2.FILES[name], weights_only=True)["state_dict"]
    assert {value.dtype for value in held.values()} == {torch.float16}
    model.load_state_dict(held)
    mean, std = (torch.tensor(row)[:, None, None] for row in (tiny_preferences.CLIP_MEAN, tiny_preferences.CLIP_STD))
    pixels = [(published_fit(to_tensor([image])[0], 32, antialias) - mean) / std for image in IMAGES]
    with torch.no_grad():
        images = model.encode_image(torch.stack(pixels))
        texts = model.encode_text(open_clip.get_tokenizer("ViT-H-14")(TEXTS))
    return torch.nn.functional.cosine_similarity(images, texts).tolist()


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("name", ["hpsv2", "hpsv2.1"])
def test_the_value_is_the_cosine(name, antialias, root):
    reward = rewards.registry.get(name)(device="cpu", batch_size=2, antialias=antialias)
    expected = reference(root, name, antialias)
    assert max(expected) - min(expected) > 0.05
    assert [score.value for score in reward(SAMPLES)] == pytest.approx(expected, abs=1e-6)


def test_the_default_is_without_antialiasing_and_it_matters():
    plain, rough, smooth = (
        [score.value for score in hpsv2.hpsv2_1(device="cpu", **options)(SAMPLES)]
        for options in ({}, {"antialias": False}, {"antialias": True})
    )
    assert plain == rough
    assert max(abs(one - other) for one, other in zip(rough, smooth, strict=True)) > 1e-3


def test_the_two_versions_are_two_rewards():
    old, new = ([score.value for score in make(device="cpu")(SAMPLES)] for make in (hpsv2.hpsv2, hpsv2.hpsv2_1))
    assert min(abs(one - other) for one, other in zip(old, new, strict=True)) > 1e-4


def test_values_do_not_depend_on_the_batch():
    alone, pairs, together = (
        [score.value for score in hpsv2.hpsv2_1(device="cpu", batch_size=size)(SAMPLES)] for size in (1, 2, 5)
    )
    assert pairs == pytest.approx(alone, rel=1e-5, abs=1e-7)
    assert together == pytest.approx(alone, rel=1e-5, abs=1e-7)


def test_a_prompt_without_text_is_unscored_in_its_place():
    scores = hpsv2.hpsv2(device="cpu")([Sample(Prompt("none", "  "), IMAGES[0]), SAMPLES[1]])
    assert [score.is_scored for score in scores] == [False, True]
    assert "prompt 'none' has no text" in scores[0].note


def test_a_picture_with_transparency_is_scored():
    clear = Image.new("RGBA", (50, 30), (200, 10, 30, 7))
    flat = Image.new("RGB", (50, 30), (200, 10, 30))
    first, second = hpsv2.hpsv2(device="cpu")([Sample(SAMPLES[0].prompt, picture) for picture in (clear, flat)])
    assert first.value == second.value


def test_sixteen_bits_are_near():
    exact = [score.value for score in hpsv2.hpsv2_1(device="cpu")(SAMPLES)]
    for dtype, error in (("bfloat16", 0.01), ("float16", 0.001)):
        found = [score.value for score in hpsv2.hpsv2_1(device="cpu", dtype=dtype)(SAMPLES)]
        assert found != exact
        assert found == pytest.approx(exact, abs=error)


def test_it_never_wants_the_network(monkeypatch):
    tiny_preferences.forbid_network(monkeypatch)
    assert all(score.is_scored for score in hpsv2.hpsv2_1(device="cpu")(SAMPLES))


def test_weights_of_another_network_are_refused(root, tmp_path, monkeypatch):
    (tmp_path / "hpsv2").mkdir()
    held = torch.load(root / "hpsv2" / hpsv2.FILES["hpsv2"], weights_only=True)
    del held["state_dict"]["visual.proj"]
    torch.save(held, tmp_path / "hpsv2" / hpsv2.FILES["hpsv2"])
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(tmp_path))
    with pytest.raises(AssetError, match=r"not the weights of a tiny-clip: .*visual\.proj"):
        hpsv2.hpsv2(device="cpu")


def test_a_dot_in_the_name_is_no_trouble():
    options = {"hpsv2.1": {"device": "cpu", "antialias": True}, "hpsv2": {"device": "cpu"}}
    config = load_config(
        "shapes-geneval", ["reward={name: {hpsv2.1: 0.5, hpsv2: 1}, options: {hpsv2.1: {batch_size: 2}}}"]
    )
    assert config.reward.name == {"hpsv2.1": 0.5, "hpsv2": 1}
    assert config.reward.options == {"hpsv2.1": {"batch_size": 2}}
    built = rewards.build({"hpsv2.1": 0.5, "hpsv2": 1}, options=options)
    for score in built(SAMPLES):
        assert score.value == pytest.approx(0.5 * score.parts["hpsv2.1"] + score.parts["hpsv2"])
