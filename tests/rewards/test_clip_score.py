"""CLIPScore on a tiny CLIP in open_clip's published file, against the formula on transformers' CLIPModel."""

from __future__ import annotations

import pytest
import tiny_clip
import tiny_preferences
import torch

from flowbench.errors import AssetError
from flowbench.rewards import clip_score, openclip, registry
from flowbench.rewards.networks import place
from flowbench.types import Prompt, Sample

SAMPLES = tiny_preferences.samples()
IMAGES = [sample.image for sample in SAMPLES]
TEXTS = [sample.prompt.text for sample in SAMPLES]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("assets")
    tiny_clip.register(root / "architectures")
    tiny_clip.write(root / "clip-vit-l-14", tiny_clip.TINY_QUICK, seed=4)
    tiny_clip.write(root / "clip-vit-b-32", tiny_clip.TINY_QUICK, seed=10)
    tiny_preferences.write_clip_processor(root / "clip-vit-h-14-processor")
    return root


@pytest.fixture(autouse=True)
def mirror(root, monkeypatch):
    tiny_preferences.use(monkeypatch, root)


def transformers_clip(weights, activation):
    """open_clip's weights in transformers' CLIPModel."""
    from transformers import CLIPConfig, CLIPModel

    sizes = {"num_hidden_layers": 2, "hidden_act": activation}
    vision = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    text = {"hidden_size": 32, "intermediate_size": 128, "num_attention_heads": 2, "vocab_size": 49408}
    model = CLIPModel(CLIPConfig(text_config={**text, **sizes}, vision_config={**vision, **sizes}, projection_dim=32))
    renamed = {
        "logit_scale": weights["logit_scale"],
        "text_model.embeddings.token_embedding.weight": weights["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": weights["positional_embedding"],
        "text_projection.weight": weights["text_projection"].T,
        "vision_model.embeddings.class_embedding": weights["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": weights["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": weights["visual.positional_embedding"],
        "visual_projection.weight": weights["visual.proj"].T,
    }
    norms = {
        "ln_final": "text_model.final_layer_norm",
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
    }
    parts = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj"}
    parts |= {"mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    for kind in ("weight", "bias"):
        renamed |= {f"{new}.{kind}": weights[f"{old}.{kind}"] for old, new in norms.items()}
        for tower, name in (("", "text_model"), ("visual.", "vision_model")):
            for layer in range(2):
                old, new = f"{tower}transformer.resblocks.{layer}.", f"{name}.encoder.layers.{layer}."
                renamed |= {f"{new}{parts[part]}.{kind}": weights[f"{old}{part}.{kind}"] for part in parts}
                thirds = weights[f"{old}attn.in_proj_{kind}"].chunk(3)
                renamed |= {
                    f"{new}self_attn.{one}_proj.{kind}": third for one, third in zip("qkv", thirds, strict=True)
                }
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    assert not unexpected and all(key.endswith("position_ids") for key in missing)
    return model.eval()


def reference(root, asset, activation="quick_gelu"):
    """torchmetrics' formula, picture by picture: 100 x max(cosine, 0)."""
    import transformers
    from safetensors.torch import load_file

    by_pil = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    processor = by_pil.from_pretrained(root / "clip-vit-h-14-processor")
    tokenizer = transformers.CLIPTokenizerFast.from_pretrained(root / "clip-vit-h-14-processor")
    model = transformers_clip(load_file(root / asset / "open_clip_model.safetensors"), activation)
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=77, return_tensors="pt")
    with torch.no_grad():
        found = model(**tokens, **processor(images=IMAGES, return_tensors="pt"))
    return (100 * torch.nn.functional.cosine_similarity(found.image_embeds, found.text_embeds)).tolist()


@pytest.mark.parametrize("name", ["clip_score-vit-l-14", "clip_score-vit-b-32"])
def test_the_value_is_torchmetrics_formula_on_transformers_network(name, root):
    scores = registry.get(name)(device="cpu", batch_size=2)(SAMPLES)
    cosines = reference(root, name.removeprefix("clip_score").replace("-vit", "clip-vit", 1))
    assert min(cosines) < 0 < max(cosines)
    assert [score.value for score in scores] == pytest.approx([max(cosine, 0) for cosine in cosines], abs=1e-4)
    assert [100 * score.parts["cosine"] for score in scores] == pytest.approx(cosines, abs=1e-4)


def test_a_gelu_network_under_these_weights_would_not_pass(root):
    scores = clip_score.clip_score_vit_l_14(device="cpu")(SAMPLES)
    wrong = reference(root, "clip-vit-l-14", activation="gelu")
    assert max(abs(100 * score.parts["cosine"] - cosine) for score, cosine in zip(scores, wrong, strict=True)) > 0.05


def test_a_cosine_below_0_counts_as_0():
    below = [score for score in clip_score.clip_score_vit_l_14(device="cpu")(SAMPLES) if score.parts["cosine"] < 0]
    assert below
    assert {score.value for score in below} == {0.0}


def test_the_two_backbones_are_two_rewards():
    large = clip_score.clip_score_vit_l_14(device="cpu")(SAMPLES)
    base = clip_score.clip_score_vit_b_32(device="cpu")(SAMPLES)
    assert all(one.parts != other.parts for one, other in zip(large, base, strict=True))
    assert clip_score.ARCHITECTURES.keys() == {"clip-vit-l-14", "clip-vit-b-32"}


def test_values_do_not_depend_on_the_batch():
    cosines = [
        [score.parts["cosine"] for score in clip_score.clip_score_vit_l_14(device="cpu", batch_size=size)(SAMPLES)]
        for size in (1, 2, 5)
    ]
    assert cosines[1] == pytest.approx(cosines[0], rel=1e-5, abs=1e-7)
    assert cosines[2] == pytest.approx(cosines[0], rel=1e-5, abs=1e-7)


def test_a_text_that_comes_again_is_encoded_once():
    clip = openclip.load("clip-vit-l-14", tiny_clip.TINY_QUICK, placement=place("cpu"))
    rows = []
    clip.model.token_embedding.register_forward_hook(lambda module, given, found: rows.append(len(found)))
    clip.cosines(IMAGES, TEXTS)
    assert sum(rows) == 4 == len(set(TEXTS))


def test_texts_are_cleaned_and_cut_as_in_openais_code_and_not_as_in_transformers(root):
    """Entities are resolved and quotes straightened; what is too long keeps its end token. The card says so."""
    import transformers

    clip = openclip.load("clip-vit-l-14", tiny_clip.TINY_QUICK, placement=place("cpu"))
    told, plain = ["salt &amp; pepper", "Don’t &amp;amp;"], ["salt & pepper", "don't &"]
    assert clip.tokenize(told).equal(clip.tokenize(plain))
    assert clip.encode_texts(told).equal(clip.encode_texts(plain))
    (long,) = clip.tokenize(["a cat " * 100]).tolist()
    start, end = 49406, 49407
    assert (len(long), long[0], long[-1], long.count(end)) == (77, start, end, 1)
    theirs = transformers.CLIPTokenizerFast.from_pretrained(root / "clip-vit-h-14-processor")
    assert theirs(told[:1])["input_ids"] != theirs(plain[:1])["input_ids"]
    for card in (clip_score.L_14_CARD, clip_score.B_32_CARD):
        assert (
            "&amp; is &" in card.preprocessing and "77 tokens of which the last is the end token" in card.preprocessing
        )


def test_the_logit_scale_of_open_clip_survives_sixteen_bits():
    clip = openclip.load("clip-vit-l-14", tiny_clip.TINY_QUICK, placement=place("cpu", "bfloat16"))
    assert clip.logit_scale == pytest.approx(100, rel=1e-6)  # as bfloat16 it would be 98.9


def test_a_prompt_without_text_is_unscored_in_its_place():
    samples = [SAMPLES[0], Sample(Prompt("none", ""), IMAGES[1]), SAMPLES[2]]
    scores = clip_score.clip_score_vit_b_32(device="cpu")(samples)
    assert [score.is_scored for score in scores] == [True, False, True]
    assert "prompt 'none' has no text" in scores[1].note
    alone = clip_score.clip_score_vit_b_32(device="cpu")([SAMPLES[2]])
    assert scores[2].value == pytest.approx(alone[0].value, rel=1e-5)


def test_sixteen_bits_are_near(root):
    exact = [score.parts["cosine"] for score in clip_score.clip_score_vit_l_14(device="cpu")(SAMPLES)]
    for dtype, error in (("bfloat16", 0.01), ("float16", 0.001)):
        scores = clip_score.clip_score_vit_l_14(device="cpu", dtype=dtype)(SAMPLES)
        assert [score.parts["cosine"] for score in scores] == pytest.approx(exact, abs=error)


def test_it_never_wants_the_network(monkeypatch):
    tiny_preferences.forbid_network(monkeypatch)
    assert all(score.is_scored for score in clip_score.clip_score_vit_l_14(device="cpu")(SAMPLES))


def test_a_damaged_file_is_said_when_it_is_built(root, tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(tmp_path))
    (tmp_path / "clip-vit-b-32").mkdir()
    (tmp_path / "clip-vit-b-32" / "open_clip_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(AssetError, match=r"open_clip_model\.safetensors"):
        clip_score.clip_score_vit_b_32(device="cpu")
