"""KID: the squared maximum mean discrepancy of Inception features under a cubic kernel, without FID's bias.

By torch-fidelity: mean over `subsets` random subsets of `subset_size` pictures of the unbiased estimate with
k(x, y) = (x y / D + 1)^3, so values slightly below 0 occur. Its spread over the subsets is the part "std".

Source: Binkowski et al. 2018, arXiv 1801.01401.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy
import torch
from PIL import Image

from flowbench import assets
from flowbench.metrics import inception
from flowbench.metrics.catalog import register
from flowbench.metrics.too_few import at_least, sizes, too_few_in_set
from flowbench.rewards.card import Card, Part
from flowbench.rewards.networks import place
from flowbench.types import Sample, Score

SEED = 2020
"""torch-fidelity's own, of the draws of subsets."""
CARD = Card(
    "kid",
    "How far the pictures, as a set, are from the reference pictures, for smaller sets than FID's.",
    unit="KID",
    direction="lower",
    source="KID, arXiv 1801.01401",
    licence="Apache-2.0 (code and weights)",
    backbone=inception.BACKBONE,
    revision=inception.FILE,
    preprocessing=inception.PREPROCESSING,
    needs=(inception.ASSET,),
    reference="torchmetrics' example (subsets of 50, 299 px): 0.0312",
    parts={"std": Part("KID")},
)


class Kid(NamedTuple):
    """Mean over the subsets, and standard deviation over them (of the population)."""

    mean: float
    std: float


@register("kid", card=CARD, level="set")
def kid(
    *, subsets: int = 100, subset_size: int = 1000, device: str = "auto", batch_size: int = 16
) -> Callable[[Sequence[Sample], Sequence[Image.Image]], Score]:
    """Kernel distance on 2048 features; unscored with fewer than `subset_size` pictures on a side."""
    at_least("kid", "subsets", subsets, 1)
    at_least("kid", "subset_size", subset_size, 2)
    where = place(device).device
    network = inception.load(assets.folder(inception.ASSET), where)

    def metric(samples: Sequence[Sample], reference: Sequence[Image.Image]) -> Score:
        lacking = too_few_in_set("kid", samples, reference, subset_size, "subset_size")
        if lacking:
            return lacking
        made = inception.features(network, [sample.image for sample in samples], where, batch_size)
        real = inception.features(network, reference, where, batch_size)
        found = kernel_distance(made, real, subsets, subset_size)
        return Score(found.mean, {"std": found.std}, details=sizes(samples, reference))

    return metric


def kernel_distance(x: numpy.ndarray, y: numpy.ndarray, subsets: int = 100, subset_size: int = 1000) -> Kid:
    """(N, D) and (M, D) features, N, M >= subset_size -> KID, float64. The order of the rows does not matter."""
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    found = kid_features_to_metric(
        _ordered(x), _ordered(y), kid_subsets=subsets, kid_subset_size=subset_size, rng_seed=SEED, verbose=False
    )
    return Kid(found[KEY_METRIC_KID_MEAN], found[KEY_METRIC_KID_STD])


def _ordered(features: numpy.ndarray) -> torch.Tensor:
    """Rows sorted by their first two numbers: subsets are drawn by place, and must not depend on the samples' order."""
    return torch.from_numpy(features[numpy.lexsort(features[:, 1::-1].T)].astype(numpy.float64))
