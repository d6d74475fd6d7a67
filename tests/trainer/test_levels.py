"""Noise levels of the forward process: the sampler's own, or places on its schedule with a known distribution."""

from __future__ import annotations

import numpy
import pytest
import torch
from scipy import stats

from flowbench.errors import UnknownName
from flowbench.trainer.objectives.levels import TIMES, noise_levels

SHIFTED = torch.tensor([1.0, 0.9, 0.75, 0.5, 0.0])


def test_the_grid_is_the_samplers_each_once_and_then_in_turn():
    found = noise_levels(SHIFTED, 4, times="grid", seed=3)
    assert sorted(found.tolist()) == sorted(SHIFTED[:-1].tolist()) and found.dtype == torch.float32
    order = numpy.random.default_rng(3).permutation(4)
    assert torch.equal(found, SHIFTED[order])
    longer = noise_levels(SHIFTED, 6, times="grid", seed=3)
    assert torch.equal(longer[:4], found) and torch.equal(longer[4:], found[:2])
    orders = {tuple(noise_levels(SHIFTED, 4, times="grid", seed=seed).tolist()) for seed in range(40)}
    assert len(orders) > 10


def places(times, count, first=None):
    """Many pictures' places on the schedule, by the inverse of its straight pieces."""
    sigmas = SHIFTED if first is None else SHIFTED[: first + 1]
    levels = torch.cat([noise_levels(sigmas, count, times=times, seed=seed) for seed in range(500)])
    assert bool(((levels > 0) & (levels <= 1)).all())
    knots = numpy.linspace(0, 1, len(sigmas))
    return numpy.interp(levels.double().numpy(), sigmas.flip(0).double().numpy(), knots[::-1]).reshape(500, count)


def test_uniform_places_are_uniform_and_one_in_each_share():
    found = places("uniform", 4)
    assert stats.kstest(found.ravel(), "uniform").pvalue > 0.01
    assert (numpy.sort((found * 4 - 1e-6).astype(int), axis=1) == numpy.arange(4)).all()
    assert stats.kstest(found[:, 0], "uniform").pvalue > 0.01  # in an order of the picture's own


def test_logit_normal_places_have_a_normal_logit():
    found = places("logit_normal", 3)
    logits = numpy.log(found / (1 - found))
    assert stats.kstest(logits.ravel(), "norm").pvalue > 0.01
    assert (numpy.sort((stats.norm.cdf(logits) * 3 - 1e-6).astype(int), axis=1) == numpy.arange(3)).all()


@pytest.mark.parametrize("times", ["uniform", "logit_normal"])
def test_a_first_part_of_the_schedule_gives_the_noisiest_levels(times):
    levels = torch.cat([noise_levels(SHIFTED[:3], 4, times=times, seed=seed) for seed in range(50)])
    assert bool((levels >= 0.75).all()) and float(levels.max()) > 0.95 and float(levels.min()) < 0.8


def test_the_seed_decides():
    for times in TIMES:
        one, other = (noise_levels(SHIFTED, 4, times=times, seed=7) for _ in range(2))
        assert torch.equal(one, other)


def test_another_word_is_refused():
    with pytest.raises(UnknownName, match=r"unknown times 'unifrom'\. Did you mean 'uniform'"):
        noise_levels(SHIFTED, 4, times="unifrom", seed=0)
