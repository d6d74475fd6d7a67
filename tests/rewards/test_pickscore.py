"""PickScore on a tiny CLIPModel in the published files, against transformers' own forward pass."""

from __future__ import annotations

import dataclasses

import pytest
import tiny_preferences
import torch
from PIL import Image

from flowbench.errors import AssetError
from flowbench.rewards import pickscore
from flowbench.rewards.networks import place
from flowbench.types import Prompt, Sample

SAMPLES = tiny_preferences.samples()
IMAGES = [sample.image for sample in SAMPLES]
TEXTS = [sample.prompt.text for sample in SAMPLES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("assets")
    tiny_preferences.write_pickscore(root / "pickscore")
    tiny_preferences.write_clip_processor(root / "clip-vit-h-14-processor")
    return root


@pytest.fixture(scope="module")
def load(folder):
    def load(dtype="float32"):
        return pickscore.load(folder / "pickscore", folder / "clip-vit-h-14-processor", place("cpu", dtype))

    return load


@pytest.fixture
def reward(folder, monkeypatch):
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(folder))
    return pickscore.pickscore(device="cpu", batch_size=2)


def reference(folder):
    """logits_per_image of transformers' CLIPModel, with torchvision's transforms and open_clip's tokenizer."""
    import open_clip
    from torchvision import transforms
    from transformers import CLIPModel

    bicubic = transforms.InterpolationMode.BICUBIC
    steps = [transforms.Resize(32, bicubic), transforms.CenterCrop(32), transforms.ToTensor()]
    prepare = transforms.Compose([*steps, transforms.Normalize(tiny_preferences.CLIP_MEAN, tiny_preferences.CLIP_STD)])
    ids = open_clip.get_tokenizer("ViT-H-14")(TEXTS)  # padded with 0 instead of the end token
    model = CLIPModel.from_pretrained(folder / "pickscore").eval()
    with torch.no_grad():
        found = model(input_ids=ids, pixel_values=torch.stack([prepare(image) for image in IMAGES]))
    return found.logits_per_image.diagonal().tolist()


def test_the_value_is_transformers_own_logit(reward, folder):
    values = [score.value for score in reward(SAMPLES)]
    expected = reference(folder)
    assert max(expected) - min(expected) > 5
    assert values == pytest.approx(expected, abs=2e-4)


def test_the_value_is_the_cosine_in_the_parts_times_100(reward):
    for score in reward(SAMPLES):
        assert score.value == pytest.approx(100 * score.parts["cosine"], rel=1e-6)
        assert -1 <= score.parts["cosine"] <= 1


def test_values_do_not_depend_on_the_batch(load):
    model = load()
    alone = [model.cosines([image], [text], 1)[0] for image, text in zip(IMAGES, TEXTS, strict=True)]
    for batch_size in (2, 5):
        assert model.cosines(IMAGES, TEXTS, batch_size) == pytest.approx(alone, rel=1e-5, abs=1e-7)


def test_a_prompt_that_comes_again_is_encoded_once(load):
    model = load()
    rows = []
    model.model.text_model.register_forward_hook(lambda module, given, found: rows.append(len(found[0])))
    model.cosines(IMAGES, TEXTS, 1)
    assert sum(rows) == 4 == len(set(TEXTS))


def test_tokens_are_clips_own_padded_to_77(load):
    import open_clip

    tokenizer = load().tokenizer
    texts = [*TEXTS, "It's 3 o'clock:  CAFÉ—naïve 中文 🙂"]
    found = tokenizer(texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt")["input_ids"]
    expected = open_clip.get_tokenizer("ViT-H-14")(texts)
    end = 49407
    assert found.shape == (6, 77)
    assert found[4, -1] == end  # the long text is cut before its end token, not through it
    assert torch.equal(torch.where(expected == 0, end, expected), found)


def test_a_prompt_without_text_is_unscored_and_the_others_keep_their_places(reward):
    full = reward(SAMPLES)
    empty = dataclasses.replace(SAMPLES[1], prompt=Prompt("nothing", " \n"))
    scores = reward([SAMPLES[0], empty, *SAMPLES[2:]])
    assert not scores[1].is_scored
    assert scores[1].note.startswith("prompt 'nothing' has no text to compare with: write it into a table")
    rest = [score.value for score in scores if score.is_scored]
    assert rest == pytest.approx([full[place].value for place in (0, 2, 3, 4)], rel=1e-5)
    assert reward([]) == []


def test_every_picture_is_scored_as_rgb(reward):
    grey = IMAGES[0].convert("L")
    prompt = SAMPLES[0].prompt
    first, second = reward([Sample(prompt, grey), Sample(prompt, grey.convert("RGB"))])
    assert first.value == second.value
    clear = Image.new("RGBA", (40, 40), (10, 200, 30, 0))
    first, second = reward([Sample(prompt, clear), Sample(prompt, Image.new("RGB", (40, 40), (10, 200, 30)))])
    assert first.value == second.value


def test_loading_costs_a_run_no_random_numbers(load):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load()
    assert torch.equal(torch.rand(1), expected)


def test_it_never_wants_the_network(folder, monkeypatch):
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(folder))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    tiny_preferences.forbid_network(monkeypatch)
    assert all(score.is_scored for score in pickscore.pickscore(device="cpu")(SAMPLES))


def test_the_logit_scale_survives_sixteen_bits(load):
    exact = load().cosines(IMAGES, TEXTS, 2)
    for dtype, error in (("bfloat16", 0.01), ("float16", 0.001)):
        model = load(dtype)
        assert model.logit_scale == pytest.approx(100, rel=1e-6)  # as bfloat16 it would be 98.9
        found = model.cosines(IMAGES, TEXTS, 2)
        assert found != exact
        assert found == pytest.approx(exact, abs=error)


def test_weights_that_are_not_there_are_said_when_it_is_built(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    torn = tmp_path / "pickscore"
    torn.mkdir()
    (torn / "config.json").write_bytes((folder / "pickscore" / "config.json").read_bytes())
    with pytest.raises(AssetError, match="PickScore cannot be loaded"):
        pickscore.load(torn, folder / "clip-vit-h-14-processor", place("cpu"))
    weights = load_file(folder / "pickscore" / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, torn / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(AssetError, match=r"1 weights are missing \(visual_projection.weight"):
        pickscore.load(torn, folder / "clip-vit-h-14-processor", place("cpu"))
    with pytest.raises(AssetError, match="PickScore cannot be loaded"):
        pickscore.load(folder / "pickscore", tmp_path, place("cpu"))
    settings = "preprocessor_config.json"
    (tmp_path / settings).write_bytes((folder / "clip-vit-h-14-processor" / settings).read_bytes())
    with pytest.raises(AssetError, match=r"its vocabulary has \d+ words, PickScore's 49408|Can't load tokenizer"):
        pickscore.load(folder / "pickscore", tmp_path, place("cpu"))


def test_transformers_4_gave_tensors_and_5_gives_objects():
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    rows = torch.ones(2, 3)
    assert pickscore._features(rows) is rows
    assert pickscore._features(BaseModelOutputWithPooling(pooler_output=rows)) is rows


def test_training_code_divides_by_26():
    assert pickscore.CARD.for_training(22.34) == pytest.approx(0.8592, abs=1e-4)
