"""ImageReward v1.0: how people would rank a picture among others made for its prompt. About N(0, 1) on its own data.

A BLIP: ViT-L/16 sees the picture, a BERT that attends to it at every layer ("med") reads the prompt, and five linear
layers make one number of what stands at [CLS]; value = (number - MEAN) / STD. Unbounded; 98 % of SD 1.4's pictures are
between -2 and 2. Training takes it as it is.

The vision part is timm's VisionTransformer and the text part transformers' BlipTextModel, which are the published
networks key by key; all sizes are read from the weights and from med_config.json.

The published `score` leaves [CLS] as the first token: BLIP's own matching puts [ENC] there, ImageReward does not
(THUDM/ImageReward, ImageReward/ImageReward.py, `score` and `inference_rank`). [DEC] and [ENC] are still tokens of the
tokenizer. Where we differ: pictures are scored in batches, and turned into RGB before they are resized, not after.

What 16 bits cost (`dtype`), measured with random weights of full size on four photographs, which differ by 0.94: 0.012
in bfloat16, 0.0016 in float16.

Source: Xu et al. 2023, arXiv 2304.05977; THUDM/ImageReward.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from flowbench import assets
from flowbench.errors import AssetError
from flowbench.rewards import Card, register
from flowbench.rewards.networks import Affine, Placement, building, fold_head, in_batches, place, score_texts
from flowbench.rewards.openclip import preprocess_for
from flowbench.types import RewardFunction, Sample, Score

CARD = Card(
    "imagereward",
    "How people would rank the picture among others made for the prompt.",
    unit="standard deviations",
    source="arXiv 2304.05977, THUDM/ImageReward",
    licence="Apache-2.0 (code and weights)",
    backbone="BLIP ViT-L/16 and med BERT-base, by timm and transformers",
    revision="THUDM/ImageReward, ImageReward.pt (v1.0)",
    preprocessing="shorter side to 224, bicubic by PIL; centre crop; text padded to and cut after 35 tokens",
    needs=("imagereward", "bert-base-uncased"),
    reference="its README's pictures 1 to 4: 0.5812, 0.2745, -1.4132, -2.0296; DrawBench: SD3.5-M 0.87",
)
MEAN, STD = 0.16717362830052426, 1.0333394966054072
"""Of the network's output on ImageReward's data, as in its code."""
TOKENS = 35
HEAD_WIDTH = 64
"""Numbers per attention head of the vision part: 16 heads for 1024 in ViT-L (BLIP's models/blip.py, create_vit)."""
IGNORED = (
    "blip.vision_proj.",
    "blip.text_proj.",
    "blip.itm_head.",
    "blip.text_decoder.",
    "blip.text_encoder.embeddings.position_ids",
)
"""What BLIP carries and the score does not use (the last: a buffer, 0, 1, 2 ...)."""
MED_KEYS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "layer_norm_eps",
    "hidden_act",
)

Weights = Mapping[str, torch.Tensor]


@register("imagereward", card=CARD)
def imagereward(*, dtype: str = "float32", device: str = "auto", batch_size: int = 16) -> RewardFunction:
    """ImageReward. `dtype` is that of the two encoders; the head is computed in float64."""
    placement = place(device, dtype)
    network = load(assets.folder("imagereward"), assets.folder("bert-base-uncased"), placement)

    def score(samples: list[Sample]) -> list[Score]:
        return [Score(value) for value in network(samples, batch_size)]

    def reward(samples: Sequence[Sample]) -> list[Score]:
        return score_texts(samples, score)

    return reward


@dataclass(frozen=True)
class ImageReward:
    """The network in evaluation mode."""

    vision: Any
    """timm's VisionTransformer: it sees the picture."""
    text: Any
    """transformers' BlipTextModel: it reads the prompt, and attends to what was seen."""
    head: Affine
    """Makes one number of what stands at [CLS]."""
    tokenizer: Any
    """BERT's, with [DEC] and [ENC]."""
    preprocess: Callable[[Image.Image], torch.Tensor]
    """An RGB picture -> (3, H, W)."""
    placement: Placement
    """Where the two encoders run, and in which precision."""

    @torch.no_grad()
    def __call__(self, samples: Sequence[Sample], batch_size: int = 16) -> list[float]:
        """The value of each sample."""
        values: list[float] = []
        for batch in in_batches(samples, batch_size):
            pixels = torch.stack([self.preprocess(sample.image.convert("RGB")) for sample in batch])
            seen = self.vision.forward_features(pixels.to(self.placement.device, self.placement.dtype))
            words = self.tokenizer(
                [sample.prompt.text for sample in batch],
                padding="max_length",
                truncation=True,
                max_length=TOKENS,
                return_tensors="pt",
            ).to(self.placement.device)
            read = self.text(
                input_ids=words["input_ids"],
                attention_mask=words["attention_mask"],
                encoder_hidden_states=seen,  # all patches count, so there is no mask for them
                is_decoder=False,  # each word sees all words
            ).last_hidden_state
            values += [(number - MEAN) / STD for number in self.head(read[:, 0])]
        return values


def load(folder: Path, tokenizer_folder: Path, placement: Placement) -> ImageReward:
    """ImageReward.pt and med_config.json from one local folder, BERT's tokenizer from another. Raises AssetError."""
    path = folder / "ImageReward.pt"
    weights = assets.read_checkpoint(path)
    parts = _split(weights, path)
    with building():
        vision, side = _vision(parts["blip.visual_encoder."])
        text = _text(folder / "med_config.json", encoder_width=vision.embed_dim)
    for module, prefix in ((vision, "blip.visual_encoder."), (text, "blip.text_encoder.")):
        try:
            module.load_state_dict(parts[prefix], strict=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise AssetError(f"{path}: {prefix}* are not ImageReward's weights: {reason}. Fetch it again.") from error
        module.requires_grad_(False).eval().to(placement.device, placement.dtype)
    head = fold_head(parts["mlp."], str(path))
    tokenizer = _tokenizer(tokenizer_folder, text.config.vocab_size)
    return ImageReward(vision, text, head, tokenizer, preprocess_for(side), placement)


def _split(weights: Weights, path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The weights by the part they belong to, under the names they have within it."""
    parts: dict[str, dict[str, torch.Tensor]] = {"blip.visual_encoder.": {}, "blip.text_encoder.": {}, "mlp.": {}}
    for key, value in weights.items():
        prefix = next((prefix for prefix in parts if key.startswith(prefix)), None)
        if key.startswith(IGNORED):
            continue
        if prefix is None:
            raise AssetError(f"{path}: ImageReward has no weight '{key}'. Fetch it again.")
        parts[prefix][key.removeprefix(prefix)] = value
    return parts


def _vision(weights: Weights) -> tuple[Any, int]:
    """The empty vision part of the size that the weights have, and the side of its pictures in pixels."""
    from timm.models.vision_transformer import VisionTransformer

    try:
        width, _, patch, _ = weights["patch_embed.proj.weight"].shape
        side = round((weights["pos_embed"].shape[1] - 1) ** 0.5) * patch  # all but [CLS] form a square
        depth = 1 + max(int(key.split(".")[1]) for key in weights if key.startswith("blocks."))
        ratio = weights["blocks.0.mlp.fc1.weight"].shape[0] / width
    except (KeyError, ValueError) as error:
        raise AssetError(f"ImageReward.pt has no vision part ({error}). Fetch it again.") from error
    model = VisionTransformer(
        img_size=side,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=width // HEAD_WIDTH,
        mlp_ratio=ratio,
        num_classes=0,  # and LayerNorm's eps is 1e-6, by default here and there
        weight_init="skip",
    )
    return model, side


def _text(path: Path, encoder_width: int) -> Any:
    """The empty text part of the sizes that med_config.json states."""
    from transformers import BlipTextConfig
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in MED_KEYS if key not in config]
    except (OSError, ValueError, TypeError) as error:
        raise AssetError(f"{path}: it cannot be read ({error}). Fetch it again.") from error
    if missing:
        raise AssetError(f"{path}: it has no '{missing[0]}'. Fetch it again.")
    settings = {key: config[key] for key in MED_KEYS}
    # what transformers calls a decoder is an encoder with cross-attention; the file's encoder_width is overruled by the
    # vision part's there too (blip_pretrain.py)
    made = BlipTextConfig(**settings, encoder_hidden_size=encoder_width, is_decoder=True, bos_token_id=None)
    return BlipTextModel(made, add_pooling_layer=False)


def _tokenizer(folder: Path, size: int) -> Any:
    from transformers import BertTokenizerFast  # type: ignore[attr-defined]

    try:
        tokenizer = BertTokenizerFast.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise AssetError(f"{folder}: BERT's tokenizer cannot be loaded ({error}). Fetch it again.") from error
    tokenizer.add_tokens(["[DEC]", "[ENC]"], special_tokens=True)  # 30522 and 30523
    if len(tokenizer) != size:  # without a vocabulary transformers 5 makes one up
        raise AssetError(
            f"{folder}: its vocabulary has {len(tokenizer)} words, ImageReward's {size}. Fetch bert-base-uncased again."
        )
    return tokenizer
