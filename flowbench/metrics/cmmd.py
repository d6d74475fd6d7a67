"""CMMD: the squared maximum mean discrepancy of CLIP embeddings under a Gaussian kernel, times 1000.

Preprocessing as both published programs have it: the central square, to 336 x 336 by PIL's bicubic, which antialiases.
(The JAX and the PyTorch one then call a resizer of their own, one with and one without antialiasing: by then the
picture has its size and nothing happens. sayakpaul/cmmd-pytorch issue 4 is about that call.)

The estimate is the biased one: a set against itself gives 0, and small sets score too high, by up to 1000 (1/N + 1/M)
(1 - mean of k). At a mean cosine of 0.5 that is 0.1 for 100 pictures on each side; SD 1.5 and SDXL are 0.11 apart.

Source: Jayasumana et al. 2023, arXiv 2401.09603; google-research/cmmd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from PIL import Image

from flowbench.metrics.catalog import register
from flowbench.metrics.too_few import at_least, sizes, too_few_in_set
from flowbench.rewards import openclip
from flowbench.rewards.card import Card
from flowbench.rewards.networks import place
from flowbench.types import Sample, Score

ASSET = "clip-vit-l-14-336"
ARCHITECTURE = "ViT-L-14-336-quickgelu"
CARD = Card(
    "cmmd",
    "How far the pictures, as a set, are from the reference pictures in CLIP's space, for smaller sets than FID's.",
    unit="1000 x MMD^2",
    low=0.0,
    high=39.61,  # 2 (1 - exp(-4 / 200)) x 1000: all of one side opposite to all of the other
    direction="lower",
    source="CMMD, arXiv 2401.09603",
    licence="MIT (CLIP)",
    backbone="CLIP ViT-L/14 at 336 px by OpenAI, QuickGELU, by open_clip",
    revision="timm/vit_large_patch14_clip_336.openai",
    preprocessing="central square; 336 x 336, bicubic by PIL (antialiased); embedding divided by its length",
    needs=(ASSET,),
    reference="cmmd-pytorch's pair of pictures: 7.696; COCO-30k: SD 1.5 0.582, SDXL 0.696",
)


@register("cmmd", card=CARD, level="set")
def cmmd(
    *, minimum: int = 1, dtype: str = "float32", device: str = "auto", batch_size: int = 16
) -> Callable[[Sequence[Sample], Sequence[Image.Image]], Score]:
    """CMMD with its published settings; unscored with fewer than `minimum` pictures on a side."""
    at_least("cmmd", "minimum", minimum, 1)
    clip = openclip.load(ASSET, ARCHITECTURE, placement=place(device, dtype))
    published = clip.preprocess
    clip = replace(clip, preprocess=lambda image: published(central_square(image)))

    def metric(samples: Sequence[Sample], reference: Sequence[Image.Image]) -> Score:
        lacking = too_few_in_set("cmmd", samples, reference, minimum, "minimum")
        if lacking:
            return lacking
        made = clip.encode_images([sample.image for sample in samples], batch_size)
        real = clip.encode_images(reference, batch_size)
        return Score(mmd(real, made), details=sizes(samples, reference))

    return metric


def mmd(x: torch.Tensor, y: torch.Tensor, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """(N, D) and (M, D) -> scale x (mean k(x, x') + mean k(y, y') - 2 mean k(x, y)), k = exp(-|a - b|^2 / (2 sigma^2)).

    The biased estimate of MMD^2: Gretton et al. 2012, equation 5. In float64 (the published programs: float32).
    """
    x, y = x.double(), y.double()
    return max(scale * (_mean_kernel(x, x, sigma) + _mean_kernel(y, y, sigma) - 2 * _mean_kernel(x, y, sigma)), 0.0)


def _mean_kernel(x: torch.Tensor, y: torch.Tensor, sigma: float) -> float:
    """Mean of k over all pairs, 1024 rows at a time: 30,000 pictures would make a table of 7 GB."""
    total = 0.0
    for rows in x.split(1024):
        squares = rows.square().sum(dim=1)[:, None] + y.square().sum(dim=1) - 2 * rows @ y.T
        total += float(torch.exp(-squares / (2 * sigma**2)).sum())
    return total / (len(x) * len(y))


def central_square(image: Image.Image) -> Image.Image:
    """The largest square in the middle; an odd pixel stays at the right or the bottom."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
