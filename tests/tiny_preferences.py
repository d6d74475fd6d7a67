"""Tiny random preference models on disk, in the formats in which the real ones are published. No network.

Each `write_...(folder)` makes one asset's files and returns the folder; `write_all(root)` makes a mirror of them all,
for FLOWBENCH_ASSETS. CLIP's vocabulary is the real one (open_clip carries it); BERT's is made of letters, so that no
lower-case ASCII word is unknown. Weights are large enough that pictures and prompts get clearly different values.
"""

from __future__ import annotations

import gzip
import json
import string
from functools import cache
from pathlib import Path
from typing import Any

import tiny_clip

HPS_FILES = {"v2": "HPS_v2_compressed.pt", "v2.1": "HPS_v2.1_compressed.pt"}
BERT_WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *string.punctuation,
    *string.digits,
    *string.ascii_lowercase,
]
BERT_VOCABULARY = [*BERT_WORDS, *(f"##{letter}" for letter in string.digits + string.ascii_lowercase), "cat", "dog"]
CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]


def write_all(root: Path) -> Path:
    """Every asset that the preference rewards need; CLIP's as tiny_clip's architectures."""
    write_pickscore(root / "pickscore")
    write_clip_processor(root / "clip-vit-h-14-processor")
    write_aesthetic(root / "aesthetic")
    write_imagereward(root / "imagereward")
    write_bert_tokenizer(root / "bert-base-uncased")
    write_hpsv2(root / "hpsv2", "v2")
    write_hpsv2(root / "hpsv2.1", "v2.1")
    tiny_clip.write(root / "clip-vit-l-14", tiny_clip.TINY_QUICK, seed=1)
    tiny_clip.write(root / "clip-vit-b-32", tiny_clip.TINY_QUICK, seed=10)
    return root


def use(monkeypatch: Any, root: Path) -> None:
    """Let the rewards find `root`, and build tiny_clip's architectures where they would build ViT-L, B or H."""
    from flowbench.rewards import aesthetic, clip_score, hpsv2

    tiny_clip.register(root / "architectures")
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(root))
    monkeypatch.setattr(aesthetic, "ARCHITECTURE", tiny_clip.TINY_QUICK)
    monkeypatch.setattr(clip_score, "ARCHITECTURES", dict.fromkeys(clip_score.ARCHITECTURES, tiny_clip.TINY_QUICK))
    monkeypatch.setattr(hpsv2, "ARCHITECTURE", tiny_clip.TINY)


def forbid_network(monkeypatch: Any) -> None:
    """From here on, whoever opens a connection or looks up an address fails."""
    import socket

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"somebody wants the network: {args[-1]}")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def write_pickscore(folder: Path, seed: int = 3) -> Path:
    """transformers' CLIPModel as of 2023: config.json with the old end-token id 2, model.safetensors with buffers."""
    import torch
    from safetensors.torch import save_file
    from transformers import CLIPConfig, CLIPModel

    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"hidden_size": 32, "intermediate_size": 64, "vocab_size": 49408, "max_position_embeddings": 77}
    vision = {"hidden_size": 64, "intermediate_size": 128, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(
        text_config={**text, **sizes, "hidden_act": "gelu", "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2},
        vision_config={**vision, **sizes, "hidden_act": "gelu"},
        projection_dim=tiny_clip.WIDTH,
        logit_scale_init_value=4.605170185988092,  # ln 100
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.5 / parameter.shape[-1] ** 0.5)
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    for tower, positions in (("text", 77), ("vision", 17)):
        weights[f"{tower}_model.embeddings.position_ids"] = torch.arange(positions)[None]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_clip_processor(folder: Path) -> Path:
    """Tokenizer (the real vocabulary) and picture settings (for 32 pixels), all six files."""
    vocabulary, merges = _clip_bpe()
    folder.mkdir(parents=True, exist_ok=True)
    ends = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    files = {
        "tokenizer.json": _clip_tokenizer(),
        "vocab.json": json.dumps(vocabulary),
        "merges.txt": "\n".join(["#version: 0.2", *map(" ".join, merges), ""]),
        "special_tokens_map.json": json.dumps({**ends, "pad_token": "<|endoftext|>"}),
        "tokenizer_config.json": json.dumps(
            {**ends, "pad_token": "<|endoftext|>", "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
        ),
        "preprocessor_config.json": json.dumps(
            {
                **{f"do_{step}": True for step in ("center_crop", "convert_rgb", "normalize", "rescale", "resize")},
                "crop_size": {"height": 32, "width": 32},
                "size": {"shortest_edge": 32},
                "image_mean": CLIP_MEAN,
                "image_std": CLIP_STD,
                "resample": 3,
                "rescale_factor": 1 / 255,
                "image_processor_type": "CLIPImageProcessor",
            }
        ),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def write_aesthetic(folder: Path, width: int = tiny_clip.WIDTH, seed: int = 4) -> Path:
    """The head's published file and keys, `width` numbers wide at its entrance."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    torch.save(_head(width, seed), folder / "sac+logos+ava1-l14-linearMSE.pth")
    return folder


def write_imagereward(folder: Path, seed: int = 5, blocks: int = 2, layers: int = 2) -> Path:
    """ImageReward.pt, a flat state dict with the parts the score does not use, and med_config.json."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    torch.save(imagereward_weights(seed, blocks=blocks, layers=layers), folder / "ImageReward.pt")
    (folder / "med_config.json").write_text(json.dumps(med_config(layers)))
    return folder


def med_config(layers: int = 2) -> dict:
    """The keys of the published file. Its encoder_width is that of a smaller vision part and is overruled."""
    return {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 32,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 48,
        "model_type": "bert",
        "num_attention_heads": 2,
        "num_hidden_layers": layers,
        "pad_token_id": 0,
        "type_vocab_size": 2,
        "vocab_size": len(BERT_VOCABULARY) + 2,  # [DEC] and [ENC]
        "encoder_width": 64,
        "add_cross_attention": True,
    }


def imagereward_weights(seed: int = 5, *, blocks: int = 2, layers: int = 2) -> dict:
    """The state dict: pictures of 32 pixels, patches of 8, two heads of 64 in the vision part."""
    import torch

    vision, text, config = 128, 32, med_config()
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Any:
        return torch.randn(shape, generator=generator) * scale

    weights: dict = {}

    def linear(name: str, outputs: int, inputs: int) -> None:
        weights[f"{name}.weight"] = normal(outputs, inputs, scale=inputs**-0.5)
        weights[f"{name}.bias"] = normal(outputs, scale=0.1)

    def norm(name: str, width: int) -> None:
        weights[f"{name}.weight"] = 1 + normal(width, scale=0.1)
        weights[f"{name}.bias"] = normal(width, scale=0.1)

    eye = "blip.visual_encoder."
    weights[f"{eye}cls_token"] = normal(1, 1, vision)
    weights[f"{eye}pos_embed"] = normal(1, 17, vision)
    weights[f"{eye}patch_embed.proj.weight"] = normal(vision, 3, 8, 8, scale=192**-0.5)
    weights[f"{eye}patch_embed.proj.bias"] = normal(vision, scale=0.1)
    for block in range(blocks):
        norm(f"{eye}blocks.{block}.norm1", vision)
        linear(f"{eye}blocks.{block}.attn.qkv", 3 * vision, vision)
        linear(f"{eye}blocks.{block}.attn.proj", vision, vision)
        norm(f"{eye}blocks.{block}.norm2", vision)
        linear(f"{eye}blocks.{block}.mlp.fc1", 4 * vision, vision)
        linear(f"{eye}blocks.{block}.mlp.fc2", vision, 4 * vision)
    norm(f"{eye}norm", vision)

    mouth = "blip.text_encoder."
    positions = config["max_position_embeddings"]
    weights[f"{mouth}embeddings.position_ids"] = torch.arange(positions)[None]
    weights[f"{mouth}embeddings.word_embeddings.weight"] = normal(config["vocab_size"], text)
    weights[f"{mouth}embeddings.position_embeddings.weight"] = normal(positions, text)
    norm(f"{mouth}embeddings.LayerNorm", text)
    for layer in range(layers):
        stem = f"{mouth}encoder.layer.{layer}."
        for attention, inputs in (("attention", text), ("crossattention", vision)):
            linear(f"{stem}{attention}.self.query", text, text)
            linear(f"{stem}{attention}.self.key", text, inputs)
            linear(f"{stem}{attention}.self.value", text, inputs)
            linear(f"{stem}{attention}.output.dense", text, text)
            norm(f"{stem}{attention}.output.LayerNorm", text)
        linear(f"{stem}intermediate.dense", config["intermediate_size"], text)
        linear(f"{stem}output.dense", text, config["intermediate_size"])
        norm(f"{stem}output.LayerNorm", text)

    linear("blip.vision_proj", 256, vision)
    linear("blip.text_proj", 256, text)
    return weights | {f"mlp.{key}": value for key, value in _head(text, seed).items()}


def write_bert_tokenizer(folder: Path) -> Path:
    """vocab.txt and tokenizer_config.json of an uncased BERT."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join([*BERT_VOCABULARY, ""]), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 512}))
    return folder


def write_hpsv2(folder: Path, version: str = "v2.1") -> Path:
    """One of the two checkpoints, `v2` or `v2.1`: half precision, under `state_dict`."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    tiny_clip.register(folder.parent / "architectures")
    weights = tiny_clip.weights(tiny_clip.TINY, seed=list(HPS_FILES).index(version))
    torch.save({"state_dict": {key: value.half() for key, value in weights.items()}}, folder / HPS_FILES[version])
    return folder


def _head(width: int, seed: int) -> dict:
    """`layers.N.weight` and `.bias` of five linear layers, where dropouts take the places 1, 3 and 5."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    sizes = {0: (64, width), 2: (32, 64), 4: (16, 32), 6: (8, 16), 7: (1, 8)}
    weights = {}
    for layer, (outputs, inputs) in sizes.items():
        weights[f"layers.{layer}.weight"] = torch.randn(outputs, inputs, generator=generator) * inputs**-0.5
        weights[f"layers.{layer}.bias"] = torch.randn(outputs, generator=generator)
    return weights


@cache
def _clip_bpe() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """CLIP's vocabulary and merges, from the list in open_clip's wheel."""
    import open_clip
    from open_clip.tokenizer import SimpleTokenizer

    path = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(word, word): place for word, place in SimpleTokenizer().encoder.items()}
    return vocabulary, merges  # type: ignore[return-value]


@cache
def _clip_tokenizer() -> str:
    """tokenizer.json."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    vocabulary, merges = _clip_bpe()
    start, end = "<|startoftext|>", "<|endoftext|>"
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token=end))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(start, normalized=True), AddedToken(end, normalized=False)])
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, vocabulary[end]), (start, vocabulary[start]), trim_offsets=False, add_prefix_space=False
    )
    return tokenizer.to_str()


def samples() -> list[Any]:
    """Five samples of five sizes, smooth pictures with noise; one prompt comes twice, one is longer than any limit.

    The surplus over 32 pixels after the resize is such that PIL's, torchvision's and transformers' crops agree.
    """
    import numpy
    from PIL import Image

    from flowbench.types import Prompt, Sample

    numbers = numpy.random.default_rng(0)
    made = []
    for place, (text, width, height) in enumerate(
        [
            ("a cat", 60, 40),
            ("a dog on a mat", 32, 32),
            ("Two cats!", 33, 66),
            ("a cat", 64, 64),
            ("a very long sky " * 40, 90, 45),
        ]
    ):
        coarse = Image.fromarray(numbers.integers(0, 256, (4, 4, 3), dtype="uint8")).resize((width, height))
        noise = numbers.integers(-20, 21, (height, width, 3))
        pixels = (numpy.asarray(coarse) + noise).clip(0, 255).astype("uint8")
        made.append(Sample(Prompt(str(place), text), Image.fromarray(pixels), place))
    return made
