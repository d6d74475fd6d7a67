"""ImageReward on a tiny checkpoint in its published files, against the network written out in plain torch."""

from __future__ import annotations

import json
import math

import pytest
import tiny_preferences
import torch
from torch.nn import functional

from flowbench.errors import AssetError, MissingFile
from flowbench.rewards import imagereward
from flowbench.rewards.networks import place
from flowbench.types import Prompt, Sample

SAMPLES = tiny_preferences.samples()
CLS, SEP, PAD = 2, 3, 0


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("assets")
    tiny_preferences.write_imagereward(root / "imagereward")
    tiny_preferences.write_bert_tokenizer(root / "bert-base-uncased")
    return root


@pytest.fixture(scope="module")
def load(root):
    def load(folder=root / "imagereward", dtype="float32"):
        return imagereward.load(folder, root / "bert-base-uncased", place("cpu", dtype))

    return load


def rewritten(root, folder, change):
    """The checkpoint with `change(weights)` applied, in a new folder."""
    tiny_preferences.write_imagereward(folder)
    weights = torch.load(root / "imagereward" / "ImageReward.pt", weights_only=True)
    change(weights)
    torch.save(weights, folder / "ImageReward.pt")
    return folder


def tokens(text, first=CLS):
    """Letters as words of an uncased BERT, [CLS] before, [SEP] after, cut to and padded with [PAD] to 35."""
    places = {word: place for place, word in enumerate([*tiny_preferences.BERT_VOCABULARY, "[DEC]", "[ENC]"])}
    ids = []
    for word in text.lower().replace("!", " !").split():
        pieces = [word] if word in ("cat", "dog") else [word[0], *(f"##{letter}" for letter in word[1:])]
        if word == "cats":
            pieces = ["cat", "##s"]
        ids += [places[piece] for piece in pieces]
    ids = [first, *ids[:33], SEP]
    return ids + [PAD] * (35 - len(ids)), [1] * len(ids) + [0] * (35 - len(ids))


def attend(query, key, value, heads, mask=None):
    """softmax(QK' / sqrt d) V over heads; (N, C) each."""
    width = query.shape[1] // heads
    parts = []
    for head in range(heads):
        columns = slice(head * width, (head + 1) * width)
        scores = query[:, columns] @ key[:, columns].T / math.sqrt(width)
        if mask is not None:
            scores = scores.masked_fill(mask == 0, -math.inf)
        parts.append(scores.softmax(dim=-1) @ value[:, columns])
    return torch.cat(parts, dim=1)


class Plain:
    """BLIP's ViT and med, one picture and one prompt at a time, in float64."""

    def __init__(self, folder):
        held = torch.load(folder / "ImageReward.pt", weights_only=True)
        self.weights = {key: value.double() for key, value in held.items()}
        self.blocks, self.layers = 2, 2

    def linear(self, name, rows):
        return functional.linear(rows, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def norm(self, name, rows, eps):
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.layer_norm(rows, weight.shape, weight, bias, eps)

    def see(self, pixels, eps=1e-6):
        stem = "blip.visual_encoder."
        kernel = self.weights[f"{stem}patch_embed.proj.weight"].flatten(1)
        patches = functional.unfold(pixels[None], 8, stride=8)[0].T @ kernel.T
        patches = patches + self.weights[f"{stem}patch_embed.proj.bias"]
        rows = torch.cat([self.weights[f"{stem}cls_token"][0], patches]) + self.weights[f"{stem}pos_embed"][0]
        for block in range(self.blocks):
            name = f"{stem}blocks.{block}."
            query, key, value = self.linear(f"{name}attn.qkv", self.norm(f"{name}norm1", rows, eps)).chunk(3, dim=1)
            rows = rows + self.linear(f"{name}attn.proj", attend(query, key, value, heads=2))
            inner = functional.gelu(self.linear(f"{name}mlp.fc1", self.norm(f"{name}norm2", rows, eps)))
            rows = rows + self.linear(f"{name}mlp.fc2", inner)
        return self.norm(f"{stem}norm", rows, eps)

    def read(self, ids, mask, seen, eps=1e-12):
        stem = "blip.text_encoder."
        rows = self.weights[f"{stem}embeddings.word_embeddings.weight"][ids]
        rows = rows + self.weights[f"{stem}embeddings.position_embeddings.weight"][: len(ids)]
        rows = self.norm(f"{stem}embeddings.LayerNorm", rows, eps)
        for layer in range(self.layers):
            name = f"{stem}encoder.layer.{layer}."
            for part, others, hidden in (("attention", None, mask), ("crossattention", seen, None)):
                query, others = rows, rows if others is None else others
                query = self.linear(f"{name}{part}.self.query", query)
                key, value = (self.linear(f"{name}{part}.self.{each}", others) for each in ("key", "value"))
                found = self.linear(f"{name}{part}.output.dense", attend(query, key, value, 2, hidden))
                rows = self.norm(f"{name}{part}.output.LayerNorm", rows + found, eps)
            inner = functional.gelu(self.linear(f"{name}intermediate.dense", rows))
            rows = self.norm(f"{name}output.LayerNorm", rows + self.linear(f"{name}output.dense", inner), eps)
        return rows

    def score(self, sample, first=CLS, **epsilons):
        from torchvision import transforms

        steps = [transforms.Resize(32, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(32)]
        steps += [transforms.ToTensor(), transforms.Normalize(tiny_preferences.CLIP_MEAN, tiny_preferences.CLIP_STD)]
        seen = self.see(transforms.Compose(steps)(sample.image).double(), **epsilons)
        ids, mask = tokens(sample.prompt.text, first)
        row = self.read(ids, torch.tensor(mask), seen)[0]
        for layer in (0, 2, 4, 6, 7):
            row = self.linear(f"mlp.layers.{layer}", row)
        return (row.item() - 0.16717362830052426) / 1.0333394966054072


def test_the_value_is_that_of_the_network_written_out(root, load):
    plain = Plain(root / "imagereward")
    expected = [plain.score(sample) for sample in SAMPLES]
    assert max(expected) - min(expected) > 0.3
    assert load()(SAMPLES) == pytest.approx(expected, abs=1e-5)


def test_the_first_token_stays_cls(root, load):
    """BLIP's matching replaces it by [ENC]; ImageReward's published score does not."""
    plain = Plain(root / "imagereward")
    other = [plain.score(sample, first=len(tiny_preferences.BERT_VOCABULARY) + 1) for sample in SAMPLES]
    assert min(abs(one - two) for one, two in zip(load()(SAMPLES), other, strict=True)) > 1e-3


def test_the_layer_norm_of_the_vision_part_adds_a_millionth(root, load, tmp_path):
    """With weights so small that it can be seen: 1e-5, transformers' default for BLIP, gives another value."""

    def shrink(weights):
        for key in ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"):
            weights[f"blip.visual_encoder.{key}"] *= 1e-3

    folder = rewritten(root, tmp_path / "small", shrink)
    plain = Plain(folder)
    found = load(folder)(SAMPLES)
    assert found == pytest.approx([plain.score(sample) for sample in SAMPLES], abs=1e-5)
    assert abs(found[0] - plain.score(SAMPLES[0], eps=1e-5)) > 1e-3


def test_values_do_not_depend_on_the_batch(load):
    network = load()
    alone = [network([sample])[0] for sample in SAMPLES]
    for batch_size in (1, 2, 5):
        assert network(SAMPLES, batch_size) == pytest.approx(alone, rel=1e-5)


def test_the_number_is_centred_and_scaled(root, load, tmp_path):
    """A head that always says MEAN + 3 STD gives 3."""

    def constant(weights):
        weights["mlp.layers.7.weight"] *= 0
        weights["mlp.layers.7.bias"].fill_(0.16717362830052426 + 3 * 1.0333394966054072)

    assert load(rewritten(root, tmp_path / "constant", constant))(SAMPLES) == pytest.approx([3] * 5, abs=1e-6)


def test_the_tokens(load):
    tokenizer = load().tokenizer
    texts = ["a cat", "Two cats!", "a very long sky " * 40]
    found = tokenizer(texts, padding="max_length", truncation=True, max_length=35)
    for text, ids, mask in zip(texts, found["input_ids"], found["attention_mask"], strict=True):
        assert (ids, mask) == tokens(text)
    assert found["input_ids"][2][-1] == SEP
    size = len(tiny_preferences.BERT_VOCABULARY)
    assert tokenizer("[DEC] [ENC]")["input_ids"] == [CLS, size, size + 1, SEP]
    assert tokenizer("CAFÉ")["input_ids"] == tokenizer("cafe")["input_ids"]


def test_the_sizes_are_those_of_the_weights(root, load, tmp_path):
    tiny_preferences.write_imagereward(tmp_path, blocks=3, layers=1)
    network = load(tmp_path)
    assert len(network.vision.blocks) == 3 and len(network.text.encoder.layer) == 1
    assert network.vision.blocks[0].attn.num_heads == 2
    plain = Plain(tmp_path)
    plain.blocks, plain.layers = 3, 1
    assert network(SAMPLES[:2]) == pytest.approx([plain.score(sample) for sample in SAMPLES[:2]], abs=1e-5)


def test_a_prompt_without_text_is_unscored_in_its_place(root, monkeypatch):
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(root))
    reward = imagereward.imagereward(device="cpu", batch_size=2)
    full = [score.value for score in reward(SAMPLES)]
    scores = reward([SAMPLES[0], Sample(Prompt("none", ""), SAMPLES[1].image), SAMPLES[2]])
    assert "prompt 'none' has no text" in scores[1].note
    assert [scores[0].value, scores[2].value] == pytest.approx([full[0], full[2]], rel=1e-5)


def test_loading_costs_a_run_no_random_numbers(load):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load()
    assert torch.equal(torch.rand(1), expected)


def test_it_never_wants_the_network(root, monkeypatch):
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(root))
    tiny_preferences.forbid_network(monkeypatch)
    assert all(score.is_scored for score in imagereward.imagereward(device="cpu")(SAMPLES))


def test_sixteen_bits_are_near(load):
    exact = load()(SAMPLES)
    for dtype, error in (("bfloat16", 0.03), ("float16", 0.003)):
        found = load(dtype=dtype)(SAMPLES)
        assert found != exact
        assert found == pytest.approx(exact, abs=error)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("blip.visual_encoder.blocks.1.attn.qkv.bias", "blip.visual_encoder.* are not ImageReward's weights"),
        ("blip.text_encoder.encoder.layer.0.crossattention.self.key.weight", "blip.text_encoder.* are not"),
        ("blip.visual_encoder.pos_embed", "has no vision part"),
        ("mlp.layers.6.bias", "no head of five linear layers"),
    ],
)
def test_a_weight_that_is_missing_is_named(root, load, tmp_path, key, said):
    with pytest.raises(AssetError) as failure:
        load(rewritten(root, tmp_path / "torn", lambda weights: weights.pop(key)))
    assert said in str(failure.value)


def test_a_weight_that_nobody_knows_is_refused_and_a_known_unused_one_is_not(root, load, tmp_path):
    exact = load()(SAMPLES)
    unused = {"blip.itm_head.weight": torch.zeros(2, 32), "blip.text_decoder.cls.bias": torch.zeros(3)}
    assert load(rewritten(root, tmp_path / "unused", lambda weights: weights.update(unused)))(SAMPLES) == exact
    with pytest.raises(AssetError, match=r"ImageReward has no weight 'blip\.third_eye'"):
        load(rewritten(root, tmp_path / "more", lambda weights: weights.update({"blip.third_eye": torch.zeros(1)})))


def test_a_bad_configuration_is_said(root, load, tmp_path):
    tiny_preferences.write_imagereward(tmp_path)
    config = json.loads((tmp_path / "med_config.json").read_text())
    (tmp_path / "med_config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    with pytest.raises(AssetError, match="size mismatch"):
        load(tmp_path)
    del config["layer_norm_eps"]
    (tmp_path / "med_config.json").write_text(json.dumps(config))
    with pytest.raises(AssetError, match="it has no 'layer_norm_eps'"):
        load(tmp_path)
    (tmp_path / "med_config.json").unlink()
    with pytest.raises(AssetError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "ImageReward.pt").unlink()
    with pytest.raises(MissingFile):
        load(tmp_path)
    with pytest.raises(AssetError, match=r"its vocabulary has 7 words, ImageReward's|tokenizer cannot be loaded"):
        imagereward.load(root / "imagereward", tmp_path, place("cpu"))
