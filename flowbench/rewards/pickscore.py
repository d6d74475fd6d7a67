"""PickScore: a CLIP ViT-H/14 tuned on which of two pictures users of Pick-a-Pic preferred. Mostly 18 to 25.

Value = exp(logit scale) x cosine, about 100 x cosine. Reports differ in unit: this (22.3), the cosine (0.223), and this
/ 26 (0.86), which is what flow_grpo, DiffusionNFT and verl-omni train on (`rl_scale`).

The network is transformers' CLIPModel from a local folder; nothing is looked up on the hub. Pictures are resized by
PIL, as transformers 4 did; transformers 5 resizes tensors unless asked, which moves values by about 0.001.

What 16 bits cost (`dtype`), measured with random weights of full size on four photographs, which differ by 7.7: 0.13 in
bfloat16, 0.014 in float16. The logit scale stays in float32: in bfloat16 it alone would take 1 % off.

Source: Kirstain et al. 2023, arXiv 2305.01569; weights yuvalkirstain/PickScore_v1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from flowbench import assets
from flowbench.errors import AssetError
from flowbench.rewards import Card, Part, register
from flowbench.rewards.networks import Placement, building, encode_once, in_batches, place, score_texts
from flowbench.rewards.openclip import unit
from flowbench.tensors import align
from flowbench.types import RewardFunction, Sample, Score

CARD = Card(
    "pickscore",
    "How users would rank the picture among others made for the prompt.",
    unit="logit scale x cosine",
    low=-100.0,
    high=100.0,
    source="arXiv 2305.01569, yuvalkirstain/PickScore",
    licence="MIT (code); none stated (weights)",
    rl_scale=1 / 26,
    backbone="CLIP ViT-H/14 of LAION-2B, GELU, tuned, by transformers",
    revision="yuvalkirstain/PickScore_v1; processor laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    preprocessing="shorter side to 224, bicubic by PIL; centre crop; text padded to and cut after 77 tokens",
    needs=("pickscore", "clip-vit-h-14-processor"),
    reference="DrawBench: SD3.5-M 22.34, after Flow-GRPO on PickScore 23.53 (arXiv 2505.05470)",
    parts={"cosine": Part("cosine", "higher")},
)
TOKENS = 77


@register("pickscore", card=CARD)
def pickscore(*, dtype: str = "float32", device: str = "auto", batch_size: int = 16) -> RewardFunction:
    """PickScore, with the cosine in the parts."""
    placement = place(device, dtype)
    model = load(assets.folder("pickscore"), assets.folder("clip-vit-h-14-processor"), placement)

    def score(samples: list[Sample]) -> list[Score]:
        texts = [sample.prompt.text for sample in samples]
        cosines = model.cosines([sample.image for sample in samples], texts, batch_size)
        return [Score(model.logit_scale * cosine, {"cosine": cosine}) for cosine in cosines]

    def reward(samples: Sequence[Sample]) -> list[Score]:
        return score_texts(samples, score)

    return reward


@dataclass(frozen=True)
class PickScore:
    """The network in evaluation mode, with what stands before it."""

    model: Any
    """transformers' CLIPModel."""
    processor: Any
    """Pictures -> its input, resized by PIL."""
    tokenizer: Any
    """Texts -> its input."""
    logit_scale: float
    """exp of its learned temperature, about 100."""
    placement: Placement
    """Where it runs, and in which precision."""

    def cosines(self, images: Sequence[Image.Image], texts: Sequence[str], batch_size: int) -> list[float]:
        """The cosine of each picture and the text in the same place; a text that comes again is encoded once."""
        return (self.encode_images(images, batch_size) * encode_once(texts, self.encode_texts)).sum(dim=-1).tolist()

    @torch.no_grad()
    def encode_images(self, images: Sequence[Image.Image], batch_size: int) -> torch.Tensor:
        """Pictures -> (N, D) float32 on the CPU, each row of length 1."""
        rows = []
        for batch in in_batches(images, batch_size):
            inputs = self.processor(images=[image.convert("RGB") for image in batch], return_tensors="pt")
            pixels = inputs["pixel_values"].to(self.placement.device, self.placement.dtype)
            rows.append(unit(_features(self.model.get_image_features(pixel_values=pixels))))
        return torch.cat(rows)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str], batch_size: int = 64) -> torch.Tensor:
        """Texts -> (N, D) float32 on the CPU, each row of length 1."""
        rows = []
        for batch in in_batches(texts, batch_size):
            inputs = self.tokenizer(
                list(batch), padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt"
            ).to(self.placement.device)
            ids, mask = inputs["input_ids"], inputs["attention_mask"]
            rows.append(unit(_features(self.model.get_text_features(input_ids=ids, attention_mask=mask))))
        return torch.cat(rows)


def load(folder: Path, processor_folder: Path, placement: Placement) -> PickScore:
    """The network and its processor from two local folders. Raises AssetError where the files do not fit."""
    import transformers

    by_pil = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)  # transformers 4 has one
    try:
        with building():
            loaded: Any = transformers.CLIPModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        processor = by_pil.from_pretrained(processor_folder, local_files_only=True)
        tokenizer = transformers.CLIPTokenizerFast.from_pretrained(  # type: ignore[attr-defined]
            processor_folder, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise AssetError(f"{folder}: PickScore cannot be loaded: {reason}. Fetch it again.") from error
    model, report = loaded
    if report["missing_keys"]:
        first = sorted(report["missing_keys"])[0]
        raise AssetError(f"{folder}: {len(report['missing_keys'])} weights are missing ({first} ...). Fetch it again.")
    words = model.config.text_config.vocab_size
    if tokenizer.vocab_size != words:  # without a vocabulary transformers 5 makes one up
        found = tokenizer.vocab_size
        raise AssetError(f"{processor_folder}: its vocabulary has {found} words, PickScore's {words}. Fetch it again.")
    logit_scale = math.exp(float(model.logit_scale.detach().float()))
    align(model.requires_grad_(False).eval().to(placement.device, placement.dtype))
    return PickScore(model, processor, tokenizer, logit_scale, placement)


def _features(found: Any) -> torch.Tensor:
    """transformers 4 returns the tensor, transformers 5 an object that carries it."""
    return found if isinstance(found, torch.Tensor) else found.pooler_output
