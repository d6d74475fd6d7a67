"""GenEval's colours on a tiny random CLIP in open_clip's format, against open_clip's own zero-shot classifier."""

from __future__ import annotations

import numpy
import pytest
import tiny_clip
import torch
from PIL import Image

from flowbench.errors import AssetError, ConfigError
from flowbench.rewards.geneval import colors
from flowbench.rewards.networks import place
from flowbench.types import Detection


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """A folder of assets with the same weights twice: as the asset, and under another name."""
    root = tmp_path_factory.mktemp("mirror")
    tiny_clip.register(root / "architectures")
    tiny_clip.write(root / "clip-vit-l-14", tiny_clip.TINY_QUICK)
    return root


@pytest.fixture
def load(mirror, monkeypatch):
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(mirror))

    def load(architecture=tiny_clip.TINY_QUICK, **options):
        monkeypatch.setattr(colors, "ARCHITECTURE", architecture)
        return colors.load(place("cpu", **options))

    return load


def picture():
    rng = numpy.random.default_rng(5)
    return Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=numpy.uint8))


def objects():
    """A round one, a long one, one without a mask."""
    rows, columns = numpy.mgrid[:48, :64]
    disc = (rows - 20) ** 2 + (columns - 30) ** 2 < 200
    bar = (rows > 40) & (columns < 60)
    return [
        Detection("apple", 0.9, (16.0, 6.0, 45.0, 35.0), disc),
        Detection("surfboard", 0.8, (0.0, 41.0, 60.0, 48.0), bar),
        Detection("apple", 0.7, (10.0, 10.0, 30.0, 40.0)),
    ]


def test_the_object_is_cut_out_onto_grey_and_cropped():
    pixels = numpy.zeros((4, 5, 3), dtype=numpy.uint8)
    pixels[..., 0] = numpy.arange(20).reshape(4, 5)
    mask = numpy.zeros((4, 5), dtype=bool)
    mask[1, 2] = mask[2, 3] = True
    cut = colors.cut_out(Image.fromarray(pixels), Detection("cup", 0.9, (1.6, 0.7, 4.4, 3.2), mask))
    grey = [0x99, 0x99, 0x99]
    assert numpy.asarray(cut).tolist() == [[[7, 0, 0], grey], [grey, [13, 0, 0]]]  # (2, 1) to (4, 3)
    whole = colors.cut_out(Image.fromarray(pixels), Detection("cup", 0.9, (1.0, 1.0, 3.0, 2.0)))
    assert numpy.asarray(whole)[..., 0].tolist() == [[6, 7]]


def test_logits_are_those_of_open_clips_zero_shot_classifier(load):
    import open_clip

    classifier = load()
    clip = classifier.clip
    for detection in objects():
        templates = [
            lambda color, label=detection.label: f"a photo of a {color} {label}",
            lambda color, label=detection.label: f"a photo of a {color}-colored {label}",
            lambda color: f"a photo of a {color} object",
        ]
        published = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"]
        weights = open_clip.build_zero_shot_classifier(clip.model, clip.tokenize, published, templates, use_tqdm=False)
        with torch.no_grad():
            pixels = clip.preprocess(colors.cut_out(picture(), detection))[None]
            expected = (100.0 * clip.model.encode_image(pixels, normalize=True) @ weights)[0]
        logits = classifier.logits(picture(), detection)
        assert (logits - expected).abs().max() < 1e-4  # of numbers up to 100, in float32; measured: 3e-6
        assert classifier.name(picture(), detection) == published[int(expected.argmax())]
        assert expected.std() > 0.5


def test_texts_depend_on_the_class_and_are_made_once(load):
    classifier = load()
    apple, surfboard = classifier.text_vectors("apple"), classifier.text_vectors("surfboard")
    assert apple.shape == (10, tiny_clip.WIDTH)
    torch.testing.assert_close(apple.norm(dim=1), torch.ones(10))
    assert (apple - surfboard).abs().max() > 0.01
    assert classifier.text_vectors("apple") is apple


def test_gelu_gives_other_logits_and_is_noticed(load):
    """The same weights under a name without -quickgelu: no error, other numbers."""
    quick, plain = load(), load(tiny_clip.TINY)
    assert (quick.quick_gelu, plain.quick_gelu) == (True, False)
    differences = [(quick.logits(picture(), one) - plain.logits(picture(), one)).abs().max() for one in objects()]
    assert min(differences) > 0.05  # five hundred times what the comparison with open_clip allows


def test_the_published_architecture_has_quick_gelu():
    import open_clip

    assert colors.ARCHITECTURE == "ViT-L-14-quickgelu"
    published = open_clip.get_model_config(colors.ARCHITECTURE)
    assert published["quick_gelu"] is True
    assert published["vision_cfg"]["image_size"] == 224


def test_nothing_is_loaded_before_the_first_question(tmp_path, monkeypatch, load):
    name = colors.when_asked(device="cpu")
    expected = load().name(picture(), objects()[0])
    assert name(picture(), objects()[0]) == expected
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    without = colors.when_asked(device="cpu")
    assert name(picture(), objects()[0]) == expected  # loaded already
    with pytest.raises(AssetError, match="clip-vit-l-14"):
        without(picture(), objects()[0])


def test_a_wrong_option_is_refused_before_the_first_question():
    with pytest.raises(ConfigError, match="dtype 'float8'"):
        colors.when_asked(dtype="float8")


def test_half_precision_is_an_option(load):
    whole, half = load(), load(dtype="bfloat16")
    differences = [(whole.logits(picture(), one) - half.logits(picture(), one)).abs().max() for one in objects()]
    assert 0 < max(differences) < 3
