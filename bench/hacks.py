"""Rewards that pay for one sign of reward hacking itself: a plugin for bench/watch.py, of no other use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy

from flowbench import Sample, Score
from flowbench.images import to_array
from flowbench.metrics.grid import measure_grid
from flowbench.metrics.picture_statistics import luma, mean_saturation, share_of_edges
from flowbench.rewards import register

Scorer = Callable[[Sequence[Sample]], list[Score]]


def _paid(measure: Callable[[numpy.ndarray], float]) -> Scorer:
    return lambda samples: [Score(measure(to_array(sample.image))) for sample in samples]


@register("busy")
def busy() -> Scorer:
    return _paid(share_of_edges)


@register("vivid")
def vivid() -> Scorer:
    return _paid(mean_saturation)


@register("woven")
def woven() -> Scorer:
    return _paid(lambda pixels: measure_grid(luma(pixels)).energy)
