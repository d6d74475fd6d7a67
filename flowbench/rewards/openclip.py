"""CLIP networks by open_clip, from local weights: pictures and texts -> unit vectors.

OpenAI's weights were trained with QuickGELU. Since open_clip 2.29 the plain name "ViT-L-14" builds a GELU network and
loads them without an error, and every score is off (mlfoundations/open_clip; 5.05 became 4.44 for one picture's
aesthetic score, axinc-ai/ailia-models PR 1810). The `-quickgelu` architectures are therefore named in full wherever
those weights are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from flowbench import assets
from flowbench.errors import AssetError, ConfigError
from flowbench.rewards.networks import Placement, building, encode_once, in_batches

FILE = "open_clip_model.safetensors"
_NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's own files carry beside the weights."""


@dataclass(frozen=True)
class OpenClip:
    """A CLIP in evaluation mode. `preprocess`: an RGB picture -> (3, H, W); `tokenize`: texts -> (N, 77) int64."""

    model: torch.nn.Module
    preprocess: Callable[[Image.Image], torch.Tensor]
    tokenize: Callable[[list[str]], torch.Tensor]
    placement: Placement

    @property
    def logit_scale(self) -> float:
        """exp of the learned temperature: 100 in OpenAI's and LAION's weights."""
        return float(self.model.logit_scale.detach().float().exp())  # type: ignore[operator]

    @torch.no_grad()
    def encode_images(self, images: Sequence[Image.Image], batch_size: int = 16) -> torch.Tensor:
        """RGB pictures -> (N, D) float32 on the CPU, each row of length 1."""
        rows = []
        for batch in in_batches(images, batch_size):
            pixels = torch.stack([self.preprocess(image.convert("RGB")) for image in batch])
            encoded = self.model.encode_image(pixels.to(self.placement.device, self.placement.dtype))  # type: ignore[operator]
            rows.append(unit(encoded))
        return torch.cat(rows)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str], batch_size: int = 64) -> torch.Tensor:
        """Texts, cut after 77 tokens (the last is the end token) -> (N, D) float32 on the CPU, each row of length 1."""
        rows = []
        for batch in in_batches(texts, batch_size):
            tokens = self.tokenize(list(batch)).to(self.placement.device)
            rows.append(unit(self.model.encode_text(tokens)))  # type: ignore[operator]
        return torch.cat(rows)

    def cosines(self, images: Sequence[Image.Image], texts: Sequence[str], batch_size: int = 16) -> list[float]:
        """The cosine of each picture and the text in the same place; a text that comes again is encoded once."""
        return (self.encode_images(images, batch_size) * encode_once(texts, self.encode_texts)).sum(dim=-1).tolist()


def load(asset: str, architecture: str, *, file: str = FILE, placement: Placement) -> OpenClip:
    """The asset's weights in open_clip's `architecture`, with its published preprocessing. Raises AssetError."""
    return load_file(assets.folder(asset) / file, architecture, placement=placement)


def load_file(path: Path, architecture: str, *, placement: Placement) -> OpenClip:
    """Weights from one file: a state dict, or one under `state_dict`. Raises AssetError where they do not fit."""
    import open_clip

    config = open_clip.get_model_config(architecture)
    if config is None:
        raise ConfigError(
            f"open_clip {open_clip.__version__} knows no architecture '{architecture}'. Install a newer one."
        )
    with building():
        model = open_clip.CLIP(**config)  # not create_model: that warns that it was given no weights
    checkpoint = assets.read_checkpoint(path)
    weights = {key: value for key, value in checkpoint.get("state_dict", checkpoint).items() if key not in _NO_WEIGHTS}
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise AssetError(f"{path}: these are not the weights of a {architecture}: {reason}. Fetch it again.") from error
    model.requires_grad_(False).eval().to(placement.device, placement.dtype)
    exact = weights["logit_scale"].to(placement.device, torch.float32)
    model.logit_scale.data = exact  # bfloat16 would make 98.9 of exp(4.6052) = 100
    preprocess = preprocess_for(model.visual.image_size)
    return OpenClip(model, preprocess, open_clip.get_tokenizer(architecture), placement)


def preprocess_for(size: int | tuple[int, int]) -> Callable[[Image.Image], torch.Tensor]:
    """CLIP's own: shorter side to `size`, bicubic by PIL (so antialiased), centre crop, CLIP's mean and std."""
    import open_clip

    return open_clip.image_transform(
        size,
        is_train=False,
        mean=open_clip.OPENAI_DATASET_MEAN,
        std=open_clip.OPENAI_DATASET_STD,
        interpolation="bicubic",
        resize_mode="shortest",
    )


def unit(rows: torch.Tensor) -> torch.Tensor:
    """(N, D) of any dtype and device -> float32 on the CPU, each row divided by its length."""
    rows = rows.float().cpu()
    return rows / rows.norm(dim=-1, keepdim=True)
