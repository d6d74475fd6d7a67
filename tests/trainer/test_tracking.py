"""The progress line, and the time left."""

from __future__ import annotations

import math

import pytest

from flowbench.trainer.objectives import OBJECTIVES, registry
from flowbench.trainer.tracking import Pace, describe

FIGURES = {
    "reward/mean": 0.25, "reward/group_std": 0.5, "policy/ratio_mean": 1.0, "policy/clip_low": 0.1,
    "policy/clip_high": 0.0, "policy/kl": 0.0123, "policy/drift": 1e-6,
}  # fmt: skip
TIMING = {"images_per_second": 199.7}


def test_the_line_of_each_objective():
    known = {figure.name: 0.5 for name in OBJECTIVES for figure in registry.get(name).figures} | FIGURES
    lines = {name: describe(registry.get(name).figures, known, TIMING, 75.2) for name in OBJECTIVES}
    assert lines["flow_grpo"] == (
        "reward 0.250 spread 0.500 ratio 1.00000 clipped low 10% high 0% kl 0.012 200 images/s 1:15 left"
    )
    assert lines["nft"] == "reward 0.250 spread 0.500 drift 1e-06 kl 0.012 200 images/s 1:15 left"


def test_what_was_not_measured_is_left_out():
    figures = {**FIGURES, "policy/kl": math.nan}
    line = describe(registry.get("nft").figures, figures, TIMING, None)
    assert line == "reward 0.250 spread 0.500 drift 1e-06 200 images/s"


def test_the_time_left_is_that_of_the_steps_after_the_first():
    """The first step took 30 seconds, each of the others 2: ten times too long an estimate if it counted."""
    pace = Pace()
    assert pace.left(99, 1030.0) is None
    assert pace.left(98, 1032.0) == pytest.approx(196)
    assert pace.left(97, 1034.0) == pytest.approx(194)
