"""LPIPS diversity: the mean perceptual distance of a prompt's pictures, two by two.

LPIPS v0.1 with AlexNet by its authors' package, at the pictures' own size: the same pictures in another size give other
values. The package's linear heads ship in its wheel; the trunk is torchvision's AlexNet, whose classifier is not read.

Source: Zhang et al. 2018, arXiv 1801.03924. As a diversity: Zhu et al. 2017 (BicycleGAN), arXiv 1711.11586; their
numbers are of LPIPS v0.0 and less than half of these (junyanz/BicycleGAN issue 83).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import torch

from flowbench import assets
from flowbench.errors import AssetError, ConfigError
from flowbench.images import to_tensor
from flowbench.metrics.catalog import register
from flowbench.metrics.too_few import too_few_of_prompt
from flowbench.rewards.card import Card
from flowbench.rewards.networks import in_batches, place
from flowbench.types import Sample, Score

TRUNK_FILE = "alexnet-owt-7be5be79.pth"
SMALLEST = 31
"""Pixels: below, AlexNet's second pooling has nothing to pool."""
CARD = Card(
    "lpips_diversity",
    "How much a prompt's pictures differ in structure and texture.",
    unit="mean LPIPS",
    low=0.0,
    direction="higher",
    source="LPIPS, arXiv 1801.03924",
    licence="BSD-2-Clause (LPIPS), BSD-3-Clause (AlexNet)",
    backbone="AlexNet by torchvision, LPIPS v0.1 heads",
    revision=TRUNK_FILE,
    preprocessing="RGB in [-1, 1] at the pictures' own size",
    needs=("lpips-alex",),
    reference="none published for a diversity in these settings",
)


@register("lpips_diversity", card=CARD, level="prompt")
def lpips_diversity(*, device: str = "auto", batch_size: int = 16) -> Callable[[Sequence[Sample]], Score]:
    """The mean LPIPS over all pairs of a prompt's pictures; `batch_size` counts pairs."""
    where = place(device).device
    network = load(assets.folder("lpips-alex"), where)

    def metric(samples: Sequence[Sample]) -> Score:
        lacking = too_few_of_prompt("lpips_diversity", samples) or _unfit([sample.image.size for sample in samples])
        if lacking:
            return lacking
        pixels = to_tensor([sample.image.convert("RGB") for sample in samples]) * 2 - 1
        return Score(mean_of_pairs(network, pixels.to(where), batch_size), details={"pictures": len(samples)})

    return metric


@torch.no_grad()
def mean_of_pairs(network: torch.nn.Module, pixels: torch.Tensor, batch_size: int) -> float:
    """(N, 3, H, W) in [-1, 1], N >= 2 -> mean distance over the N (N - 1) / 2 pairs."""
    values: list[float] = []
    for batch in in_batches(list(combinations(range(len(pixels)), 2)), batch_size):
        first, second = (list(places) for places in zip(*batch, strict=True))
        values += network(pixels[first], pixels[second]).flatten().tolist()
    return math.fsum(values) / len(values)


def load(folder: Path, device: torch.device) -> torch.nn.Module:
    """LPIPS with the trunk in `folder` and the heads of the installed package. Raises AssetError, ConfigError."""
    try:
        import lpips
    except ImportError as error:
        raise ConfigError(
            f"metric 'lpips_diversity' needs the package {error.name}. Run: pip install \"flowbench-t2i[metrics]\"."
        ) from error
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision dislikes how lpips asks it for an AlexNet without weights
        network = lpips.LPIPS(net="alex", version="0.1", pretrained=False, pnet_rand=True, verbose=False)
    heads = assets.read_checkpoint(Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth")
    trunk = assets.read_checkpoint(folder / TRUNK_FILE)
    _fill(network, heads, trunk, folder / TRUNK_FILE)
    return network.requires_grad_(False).eval().to(device)


def _fill(network: torch.nn.Module, heads: dict, trunk: dict, path: Path) -> None:
    """Put the weights in: `net.slice2.3.weight` is torchvision's `features.3.weight`, `lins.0` is `lin0` again."""
    weights = dict(network.state_dict())
    try:
        for name in weights:
            if name.startswith("net."):
                weights[name] = trunk[f"features.{name.split('.', 2)[2]}"]
            elif name.startswith("lin"):
                weights[name] = heads[name.replace("lins.", "lin")]
        network.load_state_dict(weights, strict=True)
    except (KeyError, RuntimeError) as error:
        reason = f"no {error} in it" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise AssetError(f"{path}: this is not torchvision's AlexNet: {reason}. Fetch it again.") from error


def _unfit(sizes: list[tuple[int, int]]) -> Score | None:
    if len(set(sizes)) > 1:
        listed = ", ".join(f"{width} x {height}" for width, height in dict.fromkeys(sizes))
        return Score.unscored(f"lpips_diversity compares pictures of one size, and these have {listed}.")
    if min(sizes[0]) < SMALLEST:
        return Score.unscored(f"lpips_diversity needs pictures of {SMALLEST} px or more on each side.")
    return None
