"""HPSv2 and HPSv2.1: a CLIP ViT-H/14 tuned on which of two pictures people prefer. The value is a cosine, 0.2 to 0.35.

Papers and `hpsv2.evaluate` print the cosine x 100 (27.9), training code takes it as it is: so do we. The two versions
are two networks with two scales, so they have two names: `hpsv2.score` means v2.0 by default, `hpsv2.evaluate` v2.1
(tgxs002/HPSv2 issue 27).

The picture is resized as a tensor, its longer side to 224, and centred on black. Whether such a resize is antialiased
depended on torchvision's version: not before 0.17 (January 2024), by default since, and the published code does not
say. `antialias` says it here. The default, false, is what both networks were trained with and what the published tables
were most likely made with. That is inferred from their dates, not measured; it agrees with those who run the code on
its authors' own pictures today and get less than the table of v2.1 says (28.71 instead of 30.63, issue 43). The one
value published for one picture, 0.2876 (issue 27), is from three weeks after torchvision 0.17: it may be either.
`antialias: true` is what most people get from today's torchvision, so most numbers in papers since 2024 too.

Where we differ: every picture is turned into RGB (there, one with transparency fails), and one whose longer side is
224 already is padded too (there it is not, and fails). There the network runs in float16 autocast, here in float32.

What 16 bits cost (`dtype`), measured with random weights of full size on four photographs, which differ by 0.028:
0.0007 in bfloat16, 0.00002 in float16.

Source: Wu et al. 2023, arXiv 2306.09341; tgxs002/HPSv2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from flowbench import assets
from flowbench.images import to_tensor
from flowbench.rewards import Card, openclip, register
from flowbench.rewards.networks import Placement, place, score_texts
from flowbench.types import RewardFunction, Sample, Score

ARCHITECTURE = "ViT-H-14"
"""GELU, which is right: LAION's weights were trained with it."""
FILES = {"hpsv2": "HPS_v2_compressed.pt", "hpsv2.1": "HPS_v2.1_compressed.pt"}
"""Asset, which has the reward's name -> its file."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's, red, green, blue."""

_card = partial(
    Card,
    summary="How people would rank the picture among others made for the prompt. Papers print it x 100.",
    unit="cosine",
    low=-1.0,
    high=1.0,
    source="arXiv 2306.09341, tgxs002/HPSv2",
    licence="Apache-2.0 (code and weights)",
    backbone="CLIP ViT-H/14 of LAION-2B, GELU, tuned, by open_clip",
    preprocessing="longer side to 224, bicubic, antialiased only with `antialias: true`; centred on black; 77 tokens",
)
V2_CARD = _card(
    "hpsv2",
    revision="xswu/HPSv2, HPS_v2_compressed.pt",
    needs=("hpsv2",),
    reference='its demo_image.jpg, "A cat with two horns on its head": 0.2876 (issue 27); SDXL 0.9 base: 27.73 / 100',
)
V2_1_CARD = _card(
    "hpsv2.1",
    revision="xswu/HPSv2, HPS_v2.1_compressed.pt",
    needs=("hpsv2.1",),
    reference="HPSv2 benchmark, SDXL 0.9 base: 30.63 / 100 (its README), 28.71 / 100 (issue 43, torchvision of 2024)",
)


@register("hpsv2", card=V2_CARD)
def hpsv2(
    *, antialias: bool = False, dtype: str = "float32", device: str = "auto", batch_size: int = 16
) -> RewardFunction:
    """HPS v2.0. `antialias`: see the file's first lines; it moves values, so compare only numbers of one setting."""
    return _reward("hpsv2", antialias, place(device, dtype), batch_size)


@register("hpsv2.1", card=V2_1_CARD)
def hpsv2_1(
    *, antialias: bool = False, dtype: str = "float32", device: str = "auto", batch_size: int = 16
) -> RewardFunction:
    """HPS v2.1, the newer training. `antialias` as for `hpsv2`."""
    return _reward("hpsv2.1", antialias, place(device, dtype), batch_size)


def _reward(name: str, antialias: bool, placement: Placement, batch_size: int) -> RewardFunction:
    clip = load(assets.folder(name) / FILES[name], placement, antialias=antialias)

    def score(samples: list[Sample]) -> list[Score]:
        texts = [sample.prompt.text for sample in samples]
        return [Score(value) for value in clip.cosines([sample.image for sample in samples], texts, batch_size)]

    def reward(samples: Sequence[Sample]) -> list[Score]:
        return score_texts(samples, score)

    return reward


def load(path: Path, placement: Placement, *, antialias: bool) -> openclip.OpenClip:
    """The network of one checkpoint (weights in half precision under `state_dict`). Raises AssetError."""
    clip = openclip.load_file(path, ARCHITECTURE, placement=placement)
    size: Any = clip.model.visual.image_size[0]  # type: ignore[union-attr, index]
    return replace(clip, preprocess=partial(preprocess, size=size, antialias=antialias))


def preprocess(image: Image.Image, size: int, antialias: bool) -> torch.Tensor:
    """A picture -> (3, size, size) float32: fitted, then normalised (so the black edges are not 0)."""
    pixels = fit(to_tensor([image])[0], size, antialias)
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def fit(pixels: torch.Tensor, size: int, antialias: bool) -> torch.Tensor:
    """(3, H, W) -> (3, size, size): the longer side becomes `size`, the shorter keeps its share between zeros.

    Bicubic on floating-point values, which may leave [0, 1] by a little: nothing is clipped there either.
    """
    scale = size / max(pixels.shape[1:])
    height, width = (max(1, round(side * scale)) for side in pixels.shape[1:])
    resized = torch.nn.functional.interpolate(
        pixels[None], size=(height, width), mode="bicubic", align_corners=False, antialias=antialias
    )[0]
    top, left = (size - height) // 2, (size - width) // 2
    return torch.nn.functional.pad(resized, (left, size - width - left, top, size - height - top))
