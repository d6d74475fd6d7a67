"""Diversity within a prompt in CLIP's space: the mean distance of pairs, and the Vendi score.

Mode collapse is invisible in a reward table: a model that paints one good picture eight times scores as well as one
that paints eight. Both numbers fall when that happens. They grow with whatever differs, mistakes too: read them beside
a reward.

Source: Vendi score: Friedman and Dieng 2022, arXiv 2210.02410.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy

from flowbench.metrics.catalog import register
from flowbench.metrics.too_few import too_few_of_prompt
from flowbench.rewards import openclip
from flowbench.rewards.card import Card
from flowbench.rewards.networks import place
from flowbench.types import Sample, Score

ASSET = "clip-vit-l-14"
ARCHITECTURE = "ViT-L-14-quickgelu"
PromptFunction = Callable[[Sequence[Sample]], Score]

_card = partial(
    Card,
    direction="higher",
    licence="MIT (CLIP)",
    backbone="CLIP ViT-L/14 by OpenAI, QuickGELU, by open_clip",
    revision="timm/vit_large_patch14_clip_224.openai",
    preprocessing="shorter side to 224, bicubic by PIL; centre crop; embedding divided by its length",
    needs=(ASSET,),
)
CLIP_CARD = _card("clip_diversity", "How much a prompt's pictures differ in CLIP's eyes.", "mean of 1 - cosine",
                  low=0.0, high=2.0, source="mean pairwise CLIP distance, as in common use",
                  reference="none published for these settings")  # fmt: skip
VENDI_CARD = _card("vendi", "How many different pictures a prompt has in effect: 1 to their number.",
                   "effective number of pictures", low=1.0, source="Vendi score, arXiv 2210.02410",
                   reference="its README: 2.9999 for the kernel exp(-|a - b|) on 0, 0, 10, 10, 20, 20")  # fmt: skip


@register("clip_diversity", card=CLIP_CARD, level="prompt")
def clip_diversity(*, dtype: str = "float32", device: str = "auto", batch_size: int = 16) -> PromptFunction:
    """The mean of 1 - cosine over all pairs of a prompt's pictures."""
    return _of_embeddings("clip_diversity", mean_pairwise_distance, dtype, device, batch_size)


@register("vendi", card=VENDI_CARD, level="prompt")
def vendi(*, dtype: str = "float32", device: str = "auto", batch_size: int = 16) -> PromptFunction:
    """The Vendi score of a prompt's pictures with the cosine as the kernel. It grows with their number: compare equal
    numbers only. CLIP's cosines are rarely below 0.5, so it stays well below that number."""
    return _of_embeddings("vendi", lambda rows: vendi_score(rows @ rows.T), dtype, device, batch_size)


def mean_pairwise_distance(rows: numpy.ndarray) -> float:
    """(N, D) of unit length, N >= 2 -> mean of 1 - cosine over the N (N - 1) / 2 pairs, in [0, 2]."""
    number = len(rows)
    total = rows.sum(axis=0)
    cosines = (total @ total - (rows * rows).sum()) / (number * (number - 1))  # |sum|^2 holds each pair twice
    return float(max(1 - cosines, 0.0))


def vendi_score(kernel: numpy.ndarray) -> float:
    """(N, N) similarities, symmetric, positive semidefinite, 1 on the diagonal -> exp(- sum of l log l), in [1, N].

    l: the eigenvalues of kernel / N, with 0 log 0 = 0 (the paper's definition). Rounding leaves a little below 0 and a
    sum a little off 1: the one is cut, the other divided out, which the authors' code does not do.
    """
    values = numpy.linalg.eigvalsh(kernel / len(kernel)).clip(min=0)
    shares = values[values > 0] / values.sum()
    return float(numpy.exp(-(shares * numpy.log(shares)).sum()))


def _of_embeddings(
    name: str, measure: Callable[[numpy.ndarray], float], dtype: str, device: str, batch_size: int
) -> PromptFunction:
    clip = openclip.load(ASSET, ARCHITECTURE, placement=place(device, dtype))

    def metric(samples: Sequence[Sample]) -> Score:
        lacking = too_few_of_prompt(name, samples)
        if lacking:
            return lacking
        rows = clip.encode_images([sample.image for sample in samples], batch_size).double().numpy()
        rows /= numpy.linalg.norm(rows, axis=1, keepdims=True)  # of length 1 in float64 too
        return Score(measure(rows), details={"pictures": len(samples)})

    return metric
