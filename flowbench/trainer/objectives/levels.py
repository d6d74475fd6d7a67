"""Where the noise levels of a picture come from, for objectives that learn on the forward process."""

from __future__ import annotations

import numpy
import torch
from torch import Tensor

from flowbench.errors import UnknownName
from flowbench.registry import did_you_mean

TIMES = ("grid", "uniform", "logit_normal")


def noise_levels(sigmas: Tensor, count: int, *, times: str, seed: int) -> Tensor:
    """`count` noise levels t in (0, 1] of one picture, float32 on the CPU, in the order in which it meets them.

    grid           the sampler's own levels in an order of the picture's own, in turn where there are fewer than `count`
                   (as published: DiffusionNFT's and the ELBO paper's code shuffle them for every sample)
    uniform        t(p) at a place p that is uniform on the sampler's schedule
    logit_normal   t(p) where log(p / (1 - p)) is standard normal: more levels in the middle of the schedule (SD3, arXiv
                   2403.03206, section 3.1)

    t(p) runs through the schedule, straight between its levels, so that its shift holds here, too. Places are
    stratified: one in each of `count` equal shares of their distribution, the shares in an order of the picture's own.

    sigmas: the schedule, falling from 1, with the level at which it ends; a first part of it gives its noisiest levels
    only. seed: of the picture. Raises UnknownName for another word than TIMES.
    """
    random = numpy.random.default_rng(seed)
    if times == "grid":
        order = random.permutation(len(sigmas) - 1)
        return sigmas[:-1][order[numpy.arange(count) % len(order)]]
    shares = (random.permutation(count) + random.random(count)) / count
    if times == "uniform":
        places = shares
    elif times == "logit_normal":
        places = torch.special.ndtri(torch.from_numpy(shares)).sigmoid().numpy()
    else:
        raise UnknownName(f"unknown times '{times}'.{did_you_mean(times, TIMES)} Known: {', '.join(TIMES)}.")
    knots = numpy.linspace(0, 1, len(sigmas))
    return torch.from_numpy(numpy.interp(places, knots, sigmas.double().numpy())).float()
